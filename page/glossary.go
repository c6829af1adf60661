package page

// definition says what a figure is.
type definition struct{ ID, Term, Means string }

// definitions are those that headings of tables lead to.
var definitions = []definition{
	{"accuracy", "Accuracy", "Share of pairs that are decided rightly. Every fold is decided at the threshold that is best on the others; the figure is the mean over the folds, with their standard deviation."},
	{"far", "FAR, FMR", "False accept rate, also false match rate: the share of pairs of different people that are taken for one person."},
	{"tar", "TAR@FAR", "True accept rate at a false accept rate, which is 1 − FNMR@FMR: the share of pairs of one person that are accepted at the largest threshold whose false accept rate is at most the target."},
	{"fnmr", "FNMR", "False non-match rate: the share of pairs of one person that are refused."},
	{"auc", "AUC", "Area under the curve of true over false accept rates: the probability that a pair of one person is more alike than a pair of two. 1 is perfect, 0.5 is chance."},
	{"eer", "EER", "Equal error rate: where as large a share of pairs of one person is refused as of pairs of different people is accepted."},
	{"threshold", "Threshold", "A pair is accepted if its cosine is above the threshold: the same as a squared distance of the unit embeddings, 2 − 2·cosine, below 2 − 2·threshold."},
	{"cosine", "Cosine", "Scalar product of the two unit embeddings, −1 to 1: the more alike, the larger."},
	{"interval", "Interval", "Range that holds the true figure with 95 % confidence, where pairs that share a person are not taken for independent."},
	{"p", "p", "Probability of a difference at least as large if both models were equally good; adjusted where several are compared."},
	{"yaw", "Yaw, pitch, roll", "Angles of the head in degrees, estimated from the landmarks: positive where it turns to the image's right, looks up, and leans clockwise as one sees the image."},
	{"sharpness", "Sharpness", "Variance of the Laplacian of the crop's luma: near 0 for a blurred face, hundreds or thousands for a sharp one."},
	{"facesize", "Face size", "Side of the square that the crop shows, in pixels of the photograph: below the crop's size the crop holds more pixels than the photograph had."},
	{"norm", "Norm", "Length of an embedding before it was scaled. It carries quality: blurred and turned faces have short ones with most teachers."},
	{"separation", "Separation (d′)", "Distance between the mean cosines of pairs of one person and of two, in units of their common standard deviation."},
	{"macs", "MACs", "Multiply–accumulate operations for one face."},
}

// glossary are the definitions that a page refers to, in their order.
func (p Page) glossary() []definition {
	used := map[string]bool{}
	for _, part := range p.Parts {
		for _, s := range part.Sections {
			for _, b := range s.Blocks {
				if b.Table == nil {
					continue
				}
				for _, c := range b.Table.Columns {
					used[c.Define] = true
				}
			}
		}
	}
	var list []definition
	for _, d := range definitions {
		if used[d.ID] {
			list = append(list, d)
		}
	}
	return list
}

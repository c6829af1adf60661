package loss

import "facepipe/student/torch"

var spLoss = Loss{
	Name:   "sp",
	About:  "similarity preserving: the cosines between the embeddings of a batch are the teacher's",
	Source: "Tung & Mori, ICCV 2019, arXiv 1907.09682, on unit embeddings as in TFace, sp.py",
	Formula: `L = mean over all i, j of (S_ij - T_ij)²
S_ij = <ŝ_i, ŝ_j> and T_ij = <t̂_i, t̂_j> are the cosines of the student's and of the
teacher's embeddings in a batch. The diagonal, which is 0, counts in the mean.
On feature maps the paper divides the rows of S and T by their lengths; on unit embeddings
TFace does not.`,
	Needs:    TeacherEmbedding,
	defaults: plain{paired(similarityPreserving)},
}

// similarityPreserving compares all cosines within the batch, S_ij = <ŝ_i, ŝ_j> and
// T_ij = <t̂_i, t̂_j>:
//
//	L = 1/N² Σ_ij (S_ij - T_ij)² = |S - T|²_F / N²
//
// The paper's rows of unit length are for feature maps of any scale; as in TFace, the
// embeddings have unit length instead. It has no settings, and needs the teacher's
// embedding alone. Memory: N² numbers.
func similarityPreserving(s *torch.Scope, v *view, _ Parts) torch.Tensor {
	all := v.grams()
	return meanSquare(s, all.student, all.teacher)
}

// Package ijb reads what comes with the IJB-B and IJB-C benchmarks and makes templates of the
// embeddings of their images.
//
// The files are those that insightface publishes beside the cropped images, all in one folder
// meta; SET is ijbb or ijbc:
//
//	SET_face_tid_mid.txt        image template media
//	SET_name_5pts_score.txt     image x1 y1 ... x5 y5 score
//	SET_template_pair_label.txt template template 1 or 0
//	SET_1N_gallery_*.csv        a header; template, subject, ...
//	SET_1N_probe_mixed.csv      the same
//
// A template is a set of images of one person, some of them of one media: frames of one video. An
// image of a person that is in several templates has a name for each.
package ijb

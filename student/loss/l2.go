package loss

import "facepipe/student/torch"

var l2Loss = Loss{
	Name:   "l2",
	About:  "the student's raw embedding is the teacher's, its length included",
	Source: "TFace, fitnet.py, on embeddings",
	Formula: `L = mean over all elements of (s - t)²
s and t are the raw embeddings of the student and the teacher, their lengths included.
Samples without a usable teacher embedding are left out.`,
	Needs:    TeacherEmbedding,
	defaults: plain{paired(rawL2)},
	bare:     true,
}

// rawL2 is the mean over all elements of (s - t)², on raw embeddings.
func rawL2(s *torch.Scope, v *view, _ Parts) torch.Tensor {
	p := v.raw()
	return meanSquare(s, p.student, p.teacher)
}

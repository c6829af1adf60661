package loss

import "facepipe/student/torch"

var cosineLoss = Loss{
	Name:   "cosine",
	About:  "feature consistency: the direction of the student's embedding is the teacher's",
	Source: "TFace, cosine_distance.py",
	Formula: `L = mean over i of 1 - c_i
c_i = <ŝ_i, t̂_i> is the cosine of the student's and the teacher's embedding of sample i.
Samples without a usable teacher embedding are left out.`,
	Needs:    TeacherEmbedding,
	defaults: plain{paired(cosine)},
	bare:     true,
}

// cosine is feature consistency: the mean of 1 - c_i.
func cosine(s *torch.Scope, v *view, parts Parts) torch.Tensor {
	mean := s.Mean(v.distance())
	parts.keep(s, "cosine", s.AddScalar(s.Scale(s.To(s.Detach(mean), torch.Float64), -1), 1))
	return mean
}

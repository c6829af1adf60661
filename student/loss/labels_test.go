package loss

import "math"

// lengths are those of the problem's embeddings.
func lengths(p problem) []float64 {
	l := make([]float64, p.n)
	for i := range l {
		for _, v := range p.student[i*p.d : (i+1)*p.d] {
			l[i] += v * v
		}
		l[i] = math.Sqrt(l[i])
	}
	return l
}

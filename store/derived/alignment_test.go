package derived_test

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/vec"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/check"
	"facepipe/store/derived"
	"facepipe/store/info"
	"facepipe/store/storetest"
)

// space is where embeddings of a teacher lie: those of crop i are a random direction that all
// teachers share, in the first dimensions of theirs, turned by the teacher's rotation.
const space = 6

func alignedCaches(t *testing.T, n int, noise float64) (*store.Dataset, *cache.Cache, *cache.Cache) {
	t.Helper()
	d := storetest.Open(t, storetest.Build(t, n, 8))
	turn := rotation(9, space)
	embed := func(name string, dim int, f func(dst []float32, shared []float64, rng *rand.Rand)) *cache.Cache {
		info := storetest.Info(cache.FP32, false)
		info.Name, info.Dim, info.Fingerprint = name, dim, strings.Repeat(name[:1], 64)
		storetest.Embed(t, d, info, -1, func(row int, e []float32) {
			rng := rand.New(rand.NewPCG(uint64(row), 5))
			shared := make([]float64, space)
			for i := range shared {
				shared[i] = rng.NormFloat64()
			}
			clear(e)
			f(e, shared, rng)
		})
		return storetest.Cache(t, d, name)
	}
	long := embed("a", space+3, func(dst []float32, shared []float64, _ *rand.Rand) {
		for i, x := range shared {
			dst[i+3] = float32(7 * x) // the length says nothing
		}
	})
	short := embed("b", space, func(dst []float32, shared []float64, rng *rand.Rand) {
		for i := range dst {
			for k, x := range shared {
				dst[i] += float32(turn[i][k] * x)
			}
			dst[i] += float32(noise * rng.NormFloat64())
		}
		if rng.IntN(5) == 0 {
			clear(dst) // of no use
		}
	})
	return d, long, short
}

// rotation is an orthogonal matrix, by Gram and Schmidt's method.
func rotation(seed uint64, n int) [][]float64 {
	rng := rand.New(rand.NewPCG(seed, 0))
	rows := make([][]float64, n)
	for i := range rows {
		rows[i] = make([]float64, n)
		for k := range rows[i] {
			rows[i][k] = rng.NormFloat64()
		}
		for _, other := range rows[:i] {
			along := vec.Dot(rows[i], other)
			for k := range other {
				rows[i][k] -= along * other[k]
			}
		}
		length := vec.Norm(rows[i])
		for k := range rows[i] {
			rows[i][k] /= length
		}
	}
	return rows
}

// A rotation between teachers is found again, and has orthonormal columns.
func TestAlignment(t *testing.T) {
	_, long, short := alignedCaches(t, 60, 0)
	a, err := derived.OpenAlignment(t.Context(), short, long, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a.From != space || a.To != space+3 || a.Pairs < 30 || a.Pairs == 60 || math.Abs(a.Cosine-1) > 1e-6 {
		t.Errorf("%d to %d by %d pairs, cosine %g", a.From, a.To, a.Pairs, a.Cosine)
	}
	for i := range a.From {
		for k := range a.From {
			dot := 0.0
			for row := range a.To {
				dot += float64(a.Rotation[row*a.From+i]) * float64(a.Rotation[row*a.From+k])
			}
			if want := map[bool]float64{true: 1}[i == k]; math.Abs(dot-want) > 1e-6 {
				t.Errorf("columns %d and %d: %g", i, k, dot)
			}
		}
	}
	turn := rotation(9, space)
	for row := range a.To {
		for k := range a.From {
			want := 0.0
			if row >= 3 {
				want = turn[k][row-3]
			}
			if got := a.Rotation[row*a.From+k]; math.Abs(float64(got)-want) > 1e-6 {
				t.Errorf("row %d, %d: %g, want %g", row, k, got, want)
			}
		}
	}
	if _, err := derived.OpenAlignment(t.Context(), long, short, nil); err == nil || !strings.Contains(err.Error(), "longer") {
		t.Errorf("to a shorter one: %v", err)
	}
}

// What is there is used, and made anew for another reference or when it is damaged.
func TestAlignmentIsKept(t *testing.T) {
	d, long, short := alignedCaches(t, 40, 0.2)
	first, err := derived.OpenAlignment(t.Context(), short, long, nil)
	if err != nil {
		t.Fatal(err)
	}
	if first.Cosine > 0.999 || first.Cosine < 0.8 {
		t.Errorf("cosine %g", first.Cosine)
	}
	manifest := filepath.Join(short.Folder(), "alignment", "alignment.json")
	before, err := os.Stat(manifest)
	if err != nil {
		t.Fatal(err)
	}
	same := func(what string, to *cache.Cache, want float64, again bool) {
		t.Helper()
		a, err := derived.OpenAlignment(t.Context(), short, to, nil)
		if err != nil || math.Abs(a.Cosine-want) > 1e-9 {
			t.Errorf("%s: %+v, %v", what, a, err)
		}
		after, err := os.Stat(manifest)
		if err != nil || os.SameFile(before, after) == again {
			t.Errorf("%s: made anew: %v, %v", what, !again, err)
		}
		before = after
	}
	same("there", long, first.Cosine, false)
	same("itself", short, 1, true)
	same("back", long, first.Cosine, true)
	list, err := info.Caches(d.Dir())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		want := "missing"
		if c.Name == short.Info().Name {
			want = "current"
		}
		if c.Alignment != want || (c.AlignmentBytes > 0) != (want == "current") {
			t.Errorf("teacher %s: alignment %s, %d bytes", c.Name, c.Alignment, c.AlignmentBytes)
		}
	}
	storetest.FlipBit(t, manifest, 100)
	same("damaged", long, first.Cosine, true)
	storetest.CleanCheck(t, d.Dir())
	tables, err := filepath.Glob(filepath.Join(short.Folder(), "alignment", "*.arrow"))
	if err != nil || len(tables) != 1 {
		t.Fatalf("%v, %v", tables, err)
	}
	storetest.FlipBit(t, tables[0], 600)
	if r, err := check.Run(t.Context(), d.Dir(), check.Options{ReadData: true}); err != nil || r.OK {
		t.Errorf("check of a damaged table: %+v, %v", r, err)
	}
}

package verification

import (
	"math"
	"runtime"
	"slices"
	"sync"
)

// Numbers are sorted by so many bits at a time.
const (
	digitBits = 11
	digits    = 1 << digitBits
)

// fewNumbers are sorted by comparing.
const fewNumbers = 1 << 14

// sortedCopy are numbers in ascending order, none of them NaN. Many are sorted by the digits
// of their bits, the last digit first, on all processors (a radix sort).
func sortedCopy(numbers []float64) []float64 {
	from := slices.Clone(numbers)
	if len(from) <= fewNumbers {
		slices.Sort(from)
		return from
	}
	to := make([]float64, len(from))
	parts := min(runtime.GOMAXPROCS(0), len(from)/fewNumbers)
	for shift := 0; shift < 64; shift += digitBits {
		if sortDigit(from, to, shift, parts) {
			from, to = to, from
		}
	}
	return from
}

// digit is that of a number whose bits are put in the order of their values: those of negative
// numbers are all turned over, of others the sign.
func digit(number float64, shift int) uint64 {
	bits := math.Float64bits(number)
	return (bits ^ (uint64(int64(bits)>>63) | 1<<63)) >> shift % digits
}

// sortDigit moves numbers, in the order of one digit and otherwise in theirs. It says false,
// and moves nothing, if all have the same.
func sortDigit(from, to []float64, shift, parts int) bool {
	next := make([][digits]int, parts)
	eachPart(len(from), parts, func(part, begin, end int) {
		count := &next[part]
		for _, number := range from[begin:end] {
			count[digit(number, shift)]++
		}
	})
	at := 0
	for d := range digits {
		before := at
		for part := range next {
			next[part][d], at = at, at+next[part][d]
		}
		if at-before == len(from) {
			return false
		}
	}
	eachPart(len(from), parts, func(part, begin, end int) {
		place := &next[part]
		for _, number := range from[begin:end] {
			d := digit(number, shift)
			to[place[d]] = number
			place[d]++
		}
	})
	return true
}

// eachPart works on parts of n things at the same time.
func eachPart(n, parts int, work func(part, begin, end int)) {
	var group sync.WaitGroup
	for part := range parts {
		group.Go(func() { work(part, part*n/parts, (part+1)*n/parts) })
	}
	group.Wait()
}

package onnx

import (
	"math"
	"strings"
)

// shape is that of a value; one that is not known has no dimensions.
type shape []int64

// size is the number of elements, exact up to 2^53; NaN of a dimension that is none.
func (s shape) size() float64 {
	n := 1.0
	for _, d := range s {
		if d < 0 {
			return math.NaN()
		}
		n *= float64(d)
	}
	return n
}

// at is a dimension, from the end if i is negative; NaN if there is none.
func (s shape) at(i int) float64 {
	if i < 0 {
		i += len(s)
	}
	if i < 0 || i >= len(s) {
		return math.NaN()
	}
	return shape{s[i]}.size()
}

// operator is one that multiplies weights, or that takes numbers of which only some are trained.
type operator struct {
	// trained are the inputs that hold trained numbers.
	trained []int
	// shapes are the inputs that are multiplied, by their shapes it is known how often.
	shapes []int
	// cost is how often the operator multiplies a weight by a value, and two values of
	// attention by each other; nil if it never does.
	cost func(n *Node, in []shape, out shape) (macs, products float64)
}

// microsoft is the set of operators that ONNX Runtime adds to the standard's.
const microsoft = "com.microsoft"

// operators are by domain and name. Those of the default domain that are not among them
// multiply no weights, unless they have bodies; see [Node.bodies].
var operators = map[string]operator{
	"Conv":                                  {[]int{1, 2}, []int{0, 1}, convolution},
	microsoft + ".FusedConv":                {[]int{1, 2}, []int{0, 1}, convolution},
	"ConvInteger":                           {[]int{1}, []int{0, 1}, convolution},
	"QLinearConv":                           {[]int{3, 8}, []int{0, 3}, convolution},
	"DeformConv":                            {[]int{1, 3}, []int{0, 1}, convolution},
	"ConvTranspose":                         {[]int{1, 2}, []int{0, 1}, transposedConvolution},
	"Gemm":                                  {[]int{0, 1, 2}, []int{0, 1}, linear},
	microsoft + ".FusedGemm":                {[]int{0, 1, 2}, []int{0, 1}, linear},
	microsoft + ".QGemm":                    {[]int{3, 6}, []int{0, 3}, linear},
	"MatMul":                                {[]int{0, 1}, []int{0, 1}, product},
	microsoft + ".FusedMatMul":              {[]int{0, 1}, []int{0, 1}, product},
	microsoft + ".TransposeMatMul":          {[]int{0, 1}, []int{0, 1}, product},
	"MatMulInteger":                         {[]int{0, 1}, []int{0, 1}, product},
	"QLinearMatMul":                         {[]int{0, 3}, []int{0, 3}, product},
	microsoft + ".MatMulIntegerToFloat":     {[]int{0, 1, 6}, []int{0, 1}, product},
	microsoft + ".DynamicQuantizeMatMul":    {[]int{0, 1, 4}, []int{0, 1}, product},
	"Einsum":                                {[]int{0, 1}, []int{0, 1}, einsum},
	"RNN":                                   {[]int{1, 2, 3}, []int{0, 1, 2}, recurrent},
	"GRU":                                   {[]int{1, 2, 3}, []int{0, 1, 2}, recurrent},
	"LSTM":                                  {[]int{1, 2, 3, 7}, []int{0, 1, 2}, recurrent},
	"Attention":                             {nil, []int{0, 1}, attention},
	microsoft + ".MultiHeadAttention":       {[]int{3}, []int{0, 1}, attention},
	microsoft + ".Attention":                {[]int{1, 2}, []int{0, 1}, attentionWithWeights},
	"BatchNormalization":                    {trained: []int{1, 2}},
	"InstanceNormalization":                 {trained: []int{1, 2}},
	"LayerNormalization":                    {trained: []int{1, 2}},
	"GroupNormalization":                    {trained: []int{1, 2}},
	microsoft + ".GroupNorm":                {trained: []int{1, 2}},
	microsoft + ".SkipLayerNormalization":   {trained: []int{2, 3, 4}},
	microsoft + ".BiasGelu":                 {trained: []int{1}},
	microsoft + ".FastGelu":                 {trained: []int{1}},
	"PRelu":                                 {trained: []int{1}},
	"Resize":                                {},
	"QuantizeLinear":                        {},
	"DequantizeLinear":                      {},
	microsoft + ".QuantizeLinear":           {},
	microsoft + ".DequantizeLinear":         {},
	microsoft + ".Gelu":                     {},
	microsoft + ".Pad":                      {},
	microsoft + ".NhwcMaxPool":              {},
	microsoft + ".QLinearWhere":             {},
	microsoft + ".QuickGelu":                {},
	microsoft + ".QLinearAdd":               {trained: []int{0, 3}},
	microsoft + ".QLinearMul":               {trained: []int{0, 3}},
	microsoft + ".QLinearConcat":            {},
	microsoft + ".QLinearSigmoid":           {},
	microsoft + ".QLinearSoftmax":           {},
	microsoft + ".QLinearLeakyRelu":         {},
	microsoft + ".QLinearReduceMean":        {},
	microsoft + ".QLinearAveragePool":       {},
	microsoft + ".QLinearGlobalAveragePool": {},
}

// name is an operator's name with its domain, unless that is the default one.
func (n *Node) name() string {
	if n.Domain == "" {
		return n.OpType
	}
	return n.Domain + "." + n.OpType
}

// int is an integer attribute; 0 without it.
func (n *Node) int(name string) int64 {
	for _, a := range n.Attributes {
		if a.Name == name {
			return a.Int
		}
	}
	return 0
}

// convolution multiplies each output by the weights of its kernel: weights are O×I/groups×kernel.
func convolution(_ *Node, in []shape, out shape) (macs, products float64) {
	return out.size() * in[1].size() / in[1].at(0), 0
}

// transposedConvolution multiplies each input by the weights that it spreads over: they are
// I×O/groups×kernel.
func transposedConvolution(_ *Node, in []shape, _ shape) (macs, products float64) {
	return in[0].size() * in[1].size() / in[1].at(0), 0
}

// linear multiplies each input by the weights of each column.
func linear(_ *Node, in []shape, out shape) (macs, products float64) {
	return in[0].size() * out.at(-1), 0
}

// product is of matrices, maybe many.
func product(n *Node, in []shape, out shape) (macs, products float64) {
	if n.int("transBatchA") != 0 {
		return math.NaN(), 0
	}
	inner := in[0].at(-1)
	if n.int("transA") != 0 {
		inner = in[0].at(-2)
	}
	return out.size() * inner, 0
}

// einsum multiplies once for every value that its indices take together.
func einsum(n *Node, in []shape, _ shape) (macs, products float64) {
	var equation string
	for _, a := range n.Attributes {
		if a.Name == "equation" {
			equation = strings.ReplaceAll(a.Text, " ", "")
		}
	}
	left, _, _ := strings.Cut(equation, "->")
	terms := strings.Split(left, ",")
	if len(terms) != len(n.Inputs) || len(terms) > len(in) || strings.Contains(left, ".") {
		return math.NaN(), 0
	}
	sizes := map[rune]int64{}
	for i, term := range terms {
		if len(term) != len(in[i]) {
			return math.NaN(), 0
		}
		for k, index := range term {
			sizes[index] = max(sizes[index], in[i][k])
		}
	}
	if len(terms) < 2 {
		return 0, 0
	}
	var all shape
	for _, d := range sizes {
		all = append(all, d)
	}
	return all.size(), 0
}

// recurrent multiplies each of so many steps of so many sequences by two matrices.
func recurrent(_ *Node, in []shape, _ shape) (macs, products float64) {
	return in[0].at(0) * in[0].at(1) * (in[1].size() + in[2].size()), 0
}

// attention multiplies each query by all keys, and each weight by all values. What it attends to
// besides, from a cache, is not known.
func attention(n *Node, in []shape, out shape) (macs, products float64) {
	past := map[string]int{"": 4, microsoft: 6}[n.Domain]
	if len(n.Inputs) > past && n.Inputs[past] != "" || len(in[0]) != len(in[1]) {
		return math.NaN(), 0
	}
	return 0, (in[0].size() + out.size()) * in[1].at(-2)
}

// attentionWithWeights makes queries, keys and values of its input, B×S×H, first.
func attentionWithWeights(n *Node, in []shape, out shape) (macs, products float64) {
	if len(n.Inputs) > 4 && n.Inputs[4] != "" {
		return math.NaN(), 0
	}
	places, all, values := in[0].at(0)*in[0].at(1), in[1].at(-1), out.at(-1)
	return in[0].size() * all, places * in[0].at(1) * ((all-values)/2 + values)
}

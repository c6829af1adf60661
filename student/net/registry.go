package net

import (
	"maps"
	"slices"

	"facepipe/student/net/layer"
)

// architecture is a kind of network that [New] lays out.
type architecture struct {
	// about is its source, in a line.
	about  string
	layout func(Config) layer.Layer
	// transformer is whether the settings of transformers mean anything.
	transformer bool
}

// architectures are all there are, by name. Each has a file of its own.
func architectures() map[string]architecture {
	return map[string]architecture{
		"mobilefacenet":    {about: "Chen et al. 2018 (arXiv 1804.07573), Table 1", layout: mobileFaceNet},
		"mbf-0.45g":        {about: "insightface's MobileFaceNet of 0.45 GFLOPs", layout: mobileFaceNetLarge},
		"ghostfacenetv1-1": {about: "GhostFaceNetV1-1.3-1 (Alansari et al. 2023, IEEE Access 11), first stride 1", layout: ghostFaceNet(1)},
		"ghostfacenetv1-2": {about: "GhostFaceNetV1-1.3-2 (the same paper), first stride 2", layout: ghostFaceNet(2)},
		"ir18":             {about: "insightface's iresnet18 (He et al. 2016; Deng et al. 2019)", layout: iresnet(2, 2, 2, 2)},
		"ir34":             {about: "insightface's iresnet34", layout: iresnet(3, 4, 6, 3)},
		"ir50":             {about: "insightface's iresnet50", layout: iresnet(3, 4, 14, 3)},
		"ir100":            {about: "insightface's iresnet100", layout: iresnet(3, 13, 30, 3)},
		"metaformer-0":     {about: "MetaFormer-0 (Diao et al. 2022, arXiv 2203.02751), last map 4x4", layout: metaFormer([5]int{64, 96, 192, 384, 768}, [4]int{2, 3, 5, 2}), transformer: true},
		"metaformer-1":     {about: "MetaFormer-1 (the same paper)", layout: metaFormer([5]int{64, 96, 192, 384, 768}, [4]int{2, 6, 14, 2}), transformer: true},
		"metaformer-2":     {about: "MetaFormer-2 (the same paper)", layout: metaFormer([5]int{128, 128, 256, 512, 1024}, [4]int{2, 6, 14, 2}), transformer: true},
	}
}

// Architectures lists the names that [New] takes.
func Architectures() []string { return slices.Sorted(maps.Keys(architectures())) }

// IsTransformer is whether an architecture is one of transformers, which are trained with
// another optimizer than others.
func IsTransformer(name string) bool { return architectures()[name].transformer }

// About is the source of an architecture, "" of one that is not known.
func About(name string) string { return architectures()[name].about }

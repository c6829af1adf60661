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
}

// architectures are all there are, by name. Each has a file of its own.
func architectures() map[string]architecture {
	return map[string]architecture{
		"mobilefacenet":    {"Chen et al. 2018 (arXiv 1804.07573), Table 1", mobileFaceNet},
		"mbf-0.45g":        {"insightface's MobileFaceNet of 0.45 GFLOPs", mobileFaceNetLarge},
		"ghostfacenetv1-1": {"GhostFaceNetV1-1.3-1 (Alansari et al. 2023, IEEE Access 11), first stride 1", ghostFaceNet(1)},
		"ghostfacenetv1-2": {"GhostFaceNetV1-1.3-2 (the same paper), first stride 2", ghostFaceNet(2)},
		"ir18":             {"insightface's iresnet18 (He et al. 2016; Deng et al. 2019)", iresnet(2, 2, 2, 2)},
		"ir34":             {"insightface's iresnet34", iresnet(3, 4, 6, 3)},
		"ir50":             {"insightface's iresnet50", iresnet(3, 4, 14, 3)},
		"ir100":            {"insightface's iresnet100", iresnet(3, 13, 30, 3)},
	}
}

// Architectures lists the names that [New] takes.
func Architectures() []string { return slices.Sorted(maps.Keys(architectures())) }

// About is the source of an architecture, "" of one that is not known.
func About(name string) string { return architectures()[name].about }

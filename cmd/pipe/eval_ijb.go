package main

import (
	"errors"
	"strings"

	"github.com/spf13/pflag"

	"facepipe/eval/identification"
	"facepipe/eval/ijb"
	"facepipe/eval/protocol"
)

// ijbFlags are the switches of IJB's protocols.
type ijbFlags struct {
	noDetectorScore bool
	unusable        string
}

// What becomes of templates without a usable face.
const (
	unusableLeftOut = "left-out"
	unusableNoMatch = "no-match"
)

func (i *ijbFlags) addFlags(f *pflag.FlagSet, o *protocol.IJBOptions) {
	*o = protocol.UsualIJB
	f.StringVar(&o.Norm, "ijb-norm", o.Norm, "`length` of an image's embedding in a template: keep or unit")
	f.BoolVar(&i.noDetectorScore, "ijb-no-detector-score", false, "do not weigh images by the detector's scores of the metadata")
	f.StringVar(&o.FARPick, "ijb-far-pick", o.FARPick, "`point` of the ROC for a false accept rate: nearest, as published, or le, within it")
	f.StringVar(&o.FPIRPick, "ijb-fpir-pick", o.FPIRPick, "`threshold` for a false positive identification rate: insightface, as published, or le, within it")
	f.StringVar(&i.unusable, "ijb-unusable", unusableLeftOut, "what `becomes` of pairs of templates without a usable face: left-out or no-match")
}

func (i *ijbFlags) validate(f *pflag.FlagSet, o *protocol.IJBOptions, asked bool) error {
	o.DetectorScore, o.NoMatch = !i.noDetectorScore, i.unusable == unusableNoMatch
	var names []string
	f.VisitAll(func(flag *pflag.Flag) {
		if strings.HasPrefix(flag.Name, "ijb-") {
			names = append(names, flag.Name)
		}
	})
	if !asked {
		return misplaced(f, "needs --ijb", names...)
	}
	return errors.Join(
		oneOf("--ijb-norm", o.Norm, ijb.NormKeep, ijb.NormUnit),
		oneOf("--ijb-far-pick", o.FARPick, identification.PickNearest, identification.PickLE),
		oneOf("--ijb-fpir-pick", o.FPIRPick, identification.OpenInsightFace, identification.OpenLE),
		oneOf("--ijb-unusable", i.unusable, unusableLeftOut, unusableNoMatch),
	)
}

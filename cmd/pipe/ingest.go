package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/ingest"
	"facepipe/ingest/detect"
	"facepipe/ingest/source"
	"facepipe/internal/imgcodec"
	"facepipe/internal/plain"
	"facepipe/internal/worker"
	"facepipe/store"
)

type ingestOptions struct {
	ingest.Options
	flags   *pflag.FlagSet
	planned []string // names of the flags that a plan stands for
	plan    string
	worker  string
}

func (o *ingestOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "ingest --source KIND=PATH --out DATASET",
		Short: "Turn photographs into a dataset of aligned face crops",
		Long: `Ingest decodes photographs, finds a face in each (the largest, nearest to the
middle; see --faces), aligns it by five landmarks to 112x112 pixels and appends the
crop to a dataset. Without a detector and landmarks, photographs must be aligned crops of
112x112 already; their bytes are kept as they are.

--crop-size makes a dataset for a teacher that takes another size, to keep the detail that
enlarging crops of 112 would not bring back; the places of the landmarks grow with it.
Students train on crops of 112 alone.

What cannot be used is recorded in DATASET/rejects.jsonl with its reason and stops
nothing. What an earlier run has dealt with is skipped, so the same command finishes
an interrupted run, and another source is appended. What was refused is looked at again
if its file is another now, or with --retry-rejects. A photograph whose file changed
after it was taken in is named; the dataset keeps the old crop.

SOURCES
` + source.Help() + `
DETECTORS
  ` + detect.Help() + `
FACES
  largest   the largest face, nearest to the middle
  one       the face of photographs with exactly one; others are refused
  all       every face; the main one has the photograph's key and identity, the others
            KEY#1, KEY#2 ... and none; all are in the photograph's split
  A box or landmarks that the source gives choose one face whatever is asked for.
MEMORY
  --memory bounds what encoded photographs, pictures that are decoded and crops that wait
  take at once: bytes, so that one of 16 bits a sample counts twice. A quarter of it is for
  encoded photographs, five eighths for decoding. A photograph that takes more is refused,
  before it is read where its beginning tells, and the reason says how much --memory it
  takes. The program itself takes up to 256 MiB beside it, more for a dataset of many million
  crops, and the detector what it takes.
QUALITY
  What is measured is recorded with every crop; the limits (--min-face and so on) are
  off unless given. An aligned crop only tells its sharpness.
LANDMARKS
  a text file, one photograph a line: its key (the path within the source), x and y
  of the eyes, the nose and the mouth's corners, each from the image's left. Keys with
  ./ before them, absolute paths, \ for / and keys without .jpg or another ending are
  matched where that is unambiguous`,
		Example: `  pipe ingest --source folder=photos --detector scrfd=scrfd_2.5g.onnx --out faces.ds
  pipe ingest --source folder=aligned --out faces.ds
  pipe ingest --source folder=photos --landmarks points.txt --out faces.ds --json`,
	}
}

func (o *ingestOptions) addFlags(f *pflag.FlagSet) {
	o.addContractFlags(f)
	o.flags = f
	f.VisitAll(func(flag *pflag.Flag) { o.planned = append(o.planned, flag.Name) })
	f.StringVar(&o.plan, "plan", "", "do a share of the plan in this `folder` (see pipe plan); all else is the plan's")
	f.StringVar(&o.worker, "worker", "auto", "which `share` of --plan: I/N, or auto for what Slurm, Kubernetes, torchrun or PIPE_WORKER and PIPE_WORKERS say")
	f.IntVar(&o.Workers, "workers", 0, "photographs processed at once (default: one a core); not the workers of a plan")
	f.Var(memoryFlag{&o.Memory}, "memory", "most that photographs and crops in work take of memory at once, such as 512MiB or 4GiB; what takes more by itself is refused (default: a quarter of what the machine or its control group has, at most 4GiB)")
	f.Float64Var(&o.MaxRejectRate, "max-reject-rate", ingest.DefaultMaxRejectRate, "share of refused inputs above which the exit status is 3")
}

// addContractFlags binds what the crops depend on.
func (o *ingestOptions) addContractFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&o.Sources, "source", nil, "where photographs are, `KIND=PATH`; may be given several times (required)")
	f.StringVar(&o.Out, "out", "", "`dataset` to make or to append to (required)")
	f.StringVar(&o.Detector, "detector", "none", "face `detector`: "+detect.Help())
	f.IntVar(&o.DetSize, "det-size", 0, "longest side in `pixels` of what the detector looks at (default: the detector's own)")
	f.Float64Var(&o.MinScore, "min-score", 0, "confidence from which a face counts (default: the detector's own)")
	f.StringVar(&o.Landmarks, "landmarks", "", "text `file` of landmarks that are used instead of detection")
	f.StringVar(&o.Faces, "faces", ingest.FacesLargest, "which faces of a photograph are taken: largest, one or all")
	o.addGateFlags(f)
	f.IntVar(&o.MinImages, "min-images", 0, "leave out identities with fewer `photographs` in these sources")
	f.StringVar(&o.Split, "split", "", "put identities into splits by a hash of their names: `NAME=SHARE,...`, such as train=0.9,val=0.1")
	f.Uint64Var(&o.SplitSeed, "split-seed", 0, "seed of that hash")
	f.IntVar(&o.CropSize, "crop-size", 0, fmt.Sprintf("side of crops in `pixels`, %d to %d (default %d, which students take)", ingest.MinCropSize, ingest.MaxCropSize, ingest.DefaultCropSize))
	f.StringVar(&o.Store, "store", ingest.StoreEncoded, "how crops are kept: encoded (as they came, else see --crop-format) or raw pixels")
	f.StringVar(&o.CropFormat, "crop-format", ingest.CropPNG, "how crops are encoded that are cut out of photographs: png or jpeg")
	f.IntVar(&o.JPEGQuality, "jpeg-quality", 0, fmt.Sprintf("quality of --crop-format jpeg, %d to 100 (default %[1]d)", ingest.MinJPEGQuality))
	f.StringArrayVar(&o.KeyPrefixes, "key-prefix", nil, "`text` put before every key and identity, to keep sources apart; once for all, or once for each --source")
	f.BoolVar(&o.SamePeople, "same-people", false, "identities that are numbers mean the same people in all sources and in the dataset; without it they are refused where two have the same ones")
	f.BoolVar(&o.RetryRejects, "retry-rejects", false, "look again at everything that was refused before, not only at what has another file now")
	f.StringVar(&o.PairsOut, "pairs-out", "", "`file` to write the verification pairs to that a source holds")
	f.StringVar(&o.Decoder, "decoder", "auto", "JPEG decoder: auto, std (Go's) or turbo (libjpeg-turbo); a dataset has exactly one")
	f.IntVar(&o.ShardRows, "shard-rows", store.DefaultShardRows, "`crops` in a shard; a killed run loses at most one shard")
}

func (o *ingestOptions) addGateFlags(f *pflag.FlagSet) {
	g := &o.Gate
	f.Float64Var(&g.MinFace, "min-face", 0, "refuse faces of which the crop shows fewer `pixels` a side of the photograph")
	f.Float64Var(&g.MinSharpness, "min-sharpness", 0, "refuse crops whose Laplacian has a lower `variance`")
	f.Float64Var(&g.MaxYaw, "max-yaw", 0, "refuse faces turned to a side by more `degrees`")
	f.Float64Var(&g.MaxPitch, "max-pitch", 0, "refuse faces that look up or down by more `degrees`")
	f.Float64Var(&g.MaxRoll, "max-roll", 0, "refuse heads that lean by more `degrees`")
}

func (o *ingestOptions) validate(args []string) error {
	if o.plan != "" {
		return errors.Join(noArguments(args), notNegative("--workers", o.Workers), misplaced(o.flags, "is the plan's matter", o.planned...),
			misplaced(o.flags, "is the matter of pipe merge --plan", "max-reject-rate"))
	}
	return errors.Join(noArguments(args), o.Validate(), misplaced(o.flags, "needs --plan", "worker"), oneOf("--decoder", o.Decoder, imgcodec.Auto, imgcodec.Std, imgcodec.Turbo))
}

func (o *ingestOptions) run(ctx context.Context, s *session) (*result, error) {
	o.ONNXRuntime, o.Progress = s.onnxruntime, s.progress()
	if o.plan != "" {
		return o.work(ctx)
	}
	summary, err := ingest.Run(ctx, o.Options)
	if err != nil && !tooManyRejects(err) {
		return nil, err
	}
	return &result{summary, func(w io.Writer) { printIngested(w, summary) }}, err
}

// work does a worker's share of a plan.
func (o *ingestOptions) work(ctx context.Context) (*result, error) {
	w, err := worker.Parse(o.worker, os.Getenv)
	if err != nil {
		return nil, usageError{err}
	}
	s, err := ingest.Work(ctx, o.plan, w, o.Options)
	if err != nil {
		return nil, err
	}
	return &result{s, func(out io.Writer) {
		fmt.Fprintf(out, "worker %v of %s: %d tasks, %d done in %.1f s (%.0f images/s), %d done before, %d with another process\n", w, s.Plan,
			s.Tasks, s.Done, s.Seconds, s.ImagesPerSecond, s.Reused, s.Busy)
	}}, nil
}

func printIngested(w io.Writer, s ingest.Summary) {
	plain.Fprintf(w, "%s: %d crops of %d identities in %d shards\n", s.Dataset, s.Rows, s.Identities, s.Shards)
	plain.Fprintf(w, "  seen        %d in %.1f s (%.0f images/s)\n", s.Seen, s.Seconds, s.ImagesPerSecond)
	plain.Fprintf(w, "  written     %d\n", s.Written)
	plain.Fprintf(w, "  skipped     %d, known from earlier runs (%d rejected)\n", s.Skipped, s.RejectedBefore)
	plain.Fprintf(w, "  duplicates  %d\n", s.Duplicates)
	plain.Fprintf(w, "  rejected    %d\n", s.Rejected)
	for _, reason := range slices.Sorted(maps.Keys(s.RejectReasons)) {
		plain.Fprintf(w, "    %6d  %s\n", s.RejectReasons[reason], reason)
	}
	if s.Retried > 0 {
		plain.Fprintf(w, "  retried     %d, rejected before and looked at again\n", s.Retried)
	}
	if s.Changed > 0 {
		plain.Fprintf(w, "  changed     %d of the skipped have other files now; the dataset keeps their old crops\n", s.Changed)
	}
	if s.Filtered > 0 {
		plain.Fprintf(w, "  filtered    %d, of identities with too few photographs\n", s.Filtered)
	}
	if s.Pairs > 0 {
		plain.Fprintf(w, "  pairs       %d\n", s.Pairs)
	}
	plain.Fprintf(w, "  decoder     %s\n  detector    %s\n  memory      %s at most\n", s.Decoder, s.Detector, byteSize(s.Memory))
}

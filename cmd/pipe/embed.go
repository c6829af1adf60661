package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"facepipe/eval"
	"facepipe/eval/embeddings"
	"facepipe/eval/faces"
	"facepipe/eval/protocol"
	"facepipe/ingest"
	"facepipe/ingest/detect"
	"facepipe/internal/durable"
	"facepipe/internal/plain"
	"facepipe/store"
)

type embedOptions struct {
	eval.Options
	flags    *pflag.FlagSet
	model    string
	bin      string
	folder   string
	detector string
	keep     string
	out      string
	left     string // what is said of photographs without an embedding
}

func (o *embedOptions) describe() *cobra.Command {
	return &cobra.Command{
		Use:   "embed --model FILE.onnx (--dataset DATASET | --bin FILE | --folder DIR) --out FILE",
		Short: "Write the embeddings of faces with any model to a file",
		Long: `Embed runs an ONNX face embedder over every face of a dataset, of a verification set in a
.bin file, or of a folder, and writes the embeddings as the model gives them, not scaled to
length one, in the order of the faces.

  FILE.npy    float32 [faces, dimension]; the keys are in FILE.npy.keys.txt, one a line
  FILE.csv    key, identity, e0, e1 ...; FILE.tsv the same by tabs
  FILE.arrow  Arrow IPC with the columns key, identity, embedding

A folder holds aligned crops, square and of one size; the identity is the folder that a crop
lies in. With --detector it holds photographs: faces are detected and aligned first, into a
dataset that is thrown away, or kept and gone on with by --keep.

FILE appears when it is complete. A run that was stopped starts over, but for the detection
with --keep. To go on with the embeddings of a dataset, use precompute-teacher, which keeps
them beside the crops: pipe eval --teacher takes these, and pipe export --to npy writes them.`,
		Example: `  pipe embed --model w600k_mbf.onnx --dataset faces.ds --out faces.npy
  pipe embed --model student.onnx --bin lfw.bin --flip --out lfw.arrow
  pipe embed --model w600k_mbf.onnx --folder photos --detector scrfd=scrfd_2.5g.onnx --keep photos.ds --out photos.csv`,
	}
}

func (o *embedOptions) addFlags(f *pflag.FlagSet) {
	o.flags = f
	f.StringVar(&o.model, "model", "", "ONNX `file` of the model (required)")
	f.StringVar(&o.Dataset, "dataset", "", "`dataset` whose crops are embedded")
	f.StringVar(&o.bin, "bin", "", "verification set `file`, such as lfw.bin; every different image is embedded once")
	f.StringVar(&o.folder, "folder", "", "`folder` of aligned crops or, with --detector, of photographs")
	f.StringVar(&o.out, "out", "", "`file` to write: "+strings.Join(embeddings.Endings, ", ")+" (required)")
	f.StringVar(&o.detector, "detector", "", "face `detector` for the photographs of --folder: "+detect.Help())
	f.StringVar(&o.keep, "keep", "", "`dataset` that the crops of --detector are kept in (default: none)")
	f.BoolVar(&o.Flip, "flip", false, "add the embedding of the mirrored crop to each")
	f.StringVar(&o.Preprocess, "preprocess", "auto", "`preprocessing`: auto, arcface, raw or a JSON file")
	f.BoolVar(&o.NoSelfTest, "no-self-test", false, "do not compare preprocessings on some of the faces first")
	f.StringVar(&o.Output, "output", "", "`name` of the embedding among several outputs (default: the only one with an embedding's shape)")
	addRuntimeFlags(f, &o.Runtime, &o.Batch)
}

func (o *embedOptions) validate(args []string) error {
	o.Models = []string{o.model}
	return errors.Join(
		noArguments(args), required("--model", o.model), required("--out", o.out), o.validateFaces(),
		o.validateEnding(), preprocessing(o.Preprocess), validateRuntime(o.Runtime),
	)
}

func (o *embedOptions) validateEnding() error {
	if o.out == "" || slices.Contains(embeddings.Endings, strings.ToLower(filepath.Ext(o.out))) {
		return nil
	}
	return fmt.Errorf("--out %s ends in none of %s", o.out, strings.Join(embeddings.Endings, ", "))
}

// validateFaces wants one set of faces.
func (o *embedOptions) validateFaces() error {
	given := 0
	for _, path := range []string{o.Dataset, o.bin, o.folder} {
		if path != "" {
			given++
		}
	}
	if given != 1 {
		return errors.New("name the faces by one of --dataset, --bin and --folder")
	}
	if o.folder == "" {
		return misplaced(o.flags, "needs --folder", "detector", "keep")
	}
	if o.detector == "" {
		return misplaced(o.flags, "needs --detector", "keep")
	}
	return nil
}

func (o *embedOptions) run(ctx context.Context, s *session) (*result, error) {
	o.Runtime.Library, o.Progress = s.onnxruntime, s.progress()
	set, discard, err := o.open(ctx)
	if err != nil {
		return nil, err
	}
	defer discard()
	summary, err := eval.Embed(ctx, o.Options, set, o.out)
	if err := errors.Join(err, set.Close()); err != nil {
		return nil, err
	}
	if o.left != "" {
		summary.Notes = append(summary.Notes, o.left)
	}
	return &result{summary, func(w io.Writer) { printEmbedded(w, summary) }}, nil
}

// open opens the faces. discard removes what was made for that.
func (o *embedOptions) open(ctx context.Context) (set faces.Set, discard func(), err error) {
	discard = func() {}
	switch {
	case o.Dataset != "":
		set, err = faces.Open(o.Dataset, store.WithContext(ctx))
	case o.bin != "":
		set, err = openWholeBin(ctx, o.bin)
	case o.detector == "":
		set, err = faces.OpenFolder(ctx, o.folder)
	default:
		return o.ingest(ctx)
	}
	return set, discard, err
}

// openWholeBin opens a set of which every image can be decoded.
func openWholeBin(ctx context.Context, path string) (faces.Set, error) {
	bin, err := faces.OpenBin(ctx, path)
	if err != nil {
		return nil, err
	}
	if broken := bin.Broken(); len(broken) > 0 {
		return nil, errors.Join(fmt.Errorf("verification set %s: %d images cannot be decoded, the first is %s: %w", path, len(broken), broken[0].Key, broken[0].Err), bin.Close())
	}
	return bin, nil
}

// ingest detects and aligns the faces of photographs.
func (o *embedOptions) ingest(ctx context.Context) (set faces.Set, discard func(), err error) {
	dataset, discard := o.keep, func() {}
	if dataset == "" {
		if dataset, discard, err = besideDataset(o.out); err != nil {
			return nil, discard, err
		}
	}
	summary, err := ingest.Run(ctx, ingest.Options{
		Sources: []string{"folder=" + o.folder}, Out: dataset, Detector: o.detector, MaxRejectRate: 1,
		ONNXRuntime: o.Runtime.Library, Progress: o.Progress,
	})
	if summary.Rejected > 0 {
		o.left = fmt.Sprintf("%d photographs have no embedding: %v", summary.Rejected, summary.RejectReasons)
		plain.Fprintf(o.Progress, "%s\n", o.left)
	}
	if err == nil {
		set, err = faces.Open(dataset, store.WithContext(ctx))
	}
	if err == nil && set.Len() == 0 {
		err = errors.Join(fmt.Errorf("no face was found in %s", o.folder), set.Close())
	}
	if err != nil {
		discard()
	}
	return set, discard, err
}

// besideDataset is where a dataset can be made that lives as long as a file is written. What one that
// was killed has left there is removed.
func besideDataset(out string) (dataset string, discard func(), err error) {
	folder := filepath.Join(filepath.Dir(out), ".embed-"+filepath.Base(out))
	if err := durable.NoLinks(filepath.Dir(out), filepath.Base(folder)); err != nil {
		return "", nil, err
	}
	if err := os.Mkdir(folder, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return "", nil, err
	}
	lock, err := durable.TryLock(filepath.Join(folder, ".lock"))
	if err != nil {
		return "", nil, err
	}
	dataset = filepath.Join(folder, "faces.ds")
	if err := os.RemoveAll(dataset); err != nil {
		return "", nil, errors.Join(err, lock.Unlock())
	}
	return dataset, func() { _ = errors.Join(os.RemoveAll(folder), lock.Unlock()) }, nil // it is in nobody's way
}

func printEmbedded(w io.Writer, s eval.Embedded) {
	plain.Fprintf(w, "%s: %d embeddings, %d-d float32, mirror images added: %v\n", s.File, s.Rows, s.Dim, s.Flip)
	if s.Keys != "" {
		plain.Fprintf(w, "  keys           %s\n", s.Keys)
	}
	plain.Fprintf(w, "  preprocessing  %v (%s)\n", s.Preprocess, s.PreprocessReason)
	plain.Fprintf(w, "  computed       in %.1f s (%.0f images/s)\n", s.Seconds, s.ImagesPerSecond)
	if n := len(s.Unusable); n > 0 {
		plain.Fprintf(w, "  without use    %d are zero or not finite: %s\n", n, protocol.FirstFew(s.Unusable))
	}
}

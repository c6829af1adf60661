package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"facepipe/ingest/align"
	"facepipe/ingest/detect"
	"facepipe/ingest/source"
	"facepipe/internal/imgcodec"
	"facepipe/store"
)

// cropper makes crops of photographs. It is used by all workers at once.
type cropper struct {
	contract    store.Contract
	raw         bool
	jpegQuality int    // of crops that are cut out, 0 for PNG
	faces       string // which are taken, see [Options.Faces]
	gate        Gate
	detector    *detect.Detector       // nil without one
	landmarks   *source.Landmarks      // nil without a file
	named       atomic.Bool            // the file has named a photograph
	unnamed     atomic.Pointer[string] // the key of one that it has not
	budget      *budget
}

func newCropper(p parsed, gate Gate) *cropper {
	return &cropper{
		contract: store.Contract{
			CropSize: p.side,
			Template: align.TemplateName,
			Warp:     align.WarpName,
			Decoder:  imgcodec.DecoderName(),
		},
		raw:         p.raw,
		jpegQuality: p.quality,
		faces:       p.faces,
		gate:        gate,
		budget:      newBudget(p.memory),
	}
}

// close releases the detector and the landmark file.
func (c *cropper) close() error {
	var err error
	if c.detector != nil {
		err = c.detector.Close()
	}
	if c.landmarks != nil {
		err = errors.Join(err, c.landmarks.Close())
	}
	return err
}

// face is where a face was found.
type face struct {
	landmarks align.Landmarks
	score     float64
}

// crops makes the crops of one item, the main face's last, without source, key and identity.
// A fault of the item, or of one face, is a [refusal].
func (c *cropper) crops(ctx context.Context, item source.Item, key string) ([]candidate, error) {
	var encoded claim
	defer encoded.release()
	data, err := item.Read(c.budget.admit(ctx, &encoded))
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case machineFault(err):
		return nil, fmt.Errorf("read: %w; run the same command again once that is mended, or without this file", err)
	case isRefusal(err):
		return nil, err
	case err != nil:
		return nil, refuse(stageRead, fmt.Errorf("%w: %w", errUnreadable, err))
	}
	opened, err := imgcodec.OpenPhoto(data, imgcodec.Limits{})
	if err != nil {
		return nil, refuse(stageDecode, err)
	}
	given, err := c.given(item, key)
	if err == nil && given != nil {
		err = checkOrder(given.landmarks)
	}
	if err != nil {
		return nil, err
	}
	if given == nil && c.detector == nil && c.landmarks == nil {
		crop, err := c.passThrough(opened.Header, data)
		return []candidate{{crop, nil}}, err
	}
	photo := c.budget.open(ctx, opened)
	defer photo.close()
	faces := []face{}
	if given != nil {
		faces = append(faces, *given)
	} else if faces, err = c.detect(ctx, photo, item); err != nil {
		return nil, err
	}
	return c.alignFaces(ctx, photo, faces)
}

// given is the face whose landmarks come with the item or in the landmark file; nil if it must
// be detected.
func (c *cropper) given(item source.Item, key string) (*face, error) {
	if item.Landmarks != nil {
		return &face{landmarks: *item.Landmarks}, nil
	}
	named, err := c.lookup(key)
	if err != nil || named != nil {
		return named, err
	}
	if c.landmarks != nil && c.detector == nil {
		return nil, refuse(stageDetect, fmt.Errorf("%w: the landmark file does not name this key", errNoLandmarks))
	}
	return nil, nil
}

// lookup is the face that the landmark file names, nil if it names none. It notes which.
func (c *cropper) lookup(key string) (*face, error) {
	if c.landmarks == nil {
		return nil, nil
	}
	l, score, ok, err := c.landmarks.Lookup(key)
	if err != nil {
		return nil, err
	}
	if !ok {
		c.unnamed.CompareAndSwap(nil, &key)
		return nil, nil
	}
	c.named.Store(true)
	return &face{landmarks: l, score: score}, nil
}

// checkOrder refuses given landmarks that are plainly in another order.
func checkOrder(l align.Landmarks) error {
	if err := align.CheckOrder(l); err != nil {
		return refuse(stageAlign, err)
	}
	return nil
}

// requireNamed is an error if the landmark file was asked for photographs and named none.
func (c *cropper) requireNamed(file string) error {
	if c.landmarks == nil || c.named.Load() || c.unnamed.Load() == nil {
		return nil
	}
	return fmt.Errorf("landmarks %s: 0 of %d lines of the file match a photograph: the first names %q, a photograph is %q; write the keys as the photographs' paths within the source",
		file, c.landmarks.Len(), c.landmarks.First(), *c.unnamed.Load())
}

// detect finds the faces to take, the main one last.
func (c *cropper) detect(ctx context.Context, photo *photograph, item source.Item) ([]face, error) {
	found, err := photo.detect(ctx, c.detector)
	if err != nil {
		return nil, err
	}
	w, h := photo.Size()
	chosen, err := choose(c.faces, found, item.Box, w, h)
	if err != nil {
		return nil, err
	}
	faces := make([]face, len(chosen))
	for i, f := range chosen {
		faces[i] = face{landmarks: f.Landmarks, score: f.Score}
	}
	return faces, nil
}

// alignFaces makes the crops of a photograph's faces, in their order.
func (c *cropper) alignFaces(ctx context.Context, photo *photograph, faces []face) ([]candidate, error) {
	most := int64(len(faces)) * int64(3*c.contract.CropSize*c.contract.CropSize)
	if most > c.budget.decoding.size {
		return nil, refuse(stageAlign, fmt.Errorf("%w: the crops of %d faces take %d bytes, and --memory of %d leaves %d", errMemory, len(faces), most, c.budget.memory, c.budget.decoding.size))
	}
	photo.claimCrops(most)
	// A photograph is decoded at one size at a time, so faces that need the same size follow
	// each other. A face whose reduction has an error is refused with it below.
	order, reductions := make([]int, len(faces)), make([]int, len(faces))
	for i, f := range faces {
		order[i] = i
		reductions[i], _ = photo.reductionFor(f.landmarks, c.contract.CropSize)
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(reductions[a], reductions[b]) })
	out := make([]candidate, len(faces))
	for _, i := range order {
		crop, err := c.alignFace(ctx, photo, faces[i])
		var refused *refusal
		if err != nil && !errors.As(err, &refused) {
			return nil, err
		}
		out[i] = candidate{crop, err}
	}
	return out, nil
}

// alignFace warps a face out of its photograph.
func (c *cropper) alignFace(ctx context.Context, photo *photograph, f face) (store.Crop, error) {
	aligned, err := photo.align(ctx, f.landmarks, c.contract.CropSize)
	if err != nil {
		return store.Crop{}, err
	}
	var crop store.Crop
	if c.jpegQuality == 0 {
		crop = c.encode(aligned)
	} else if crop, err = c.encodeJPEG(aligned); err != nil {
		return store.Crop{}, err
	}
	crop.HasLandmarks = true
	crop.Score = float32(f.score)
	for i, p := range f.landmarks {
		crop.Landmarks[2*i], crop.Landmarks[2*i+1] = float32(p.X), float32(p.Y)
	}
	return c.judge(crop, aligned, &f.landmarks)
}

// judge measures the face of a crop and asks the gate. landmarks are where the face was in its
// photograph, nil if that is not known.
func (c *cropper) judge(crop store.Crop, pixels *imgcodec.Image, landmarks *align.Landmarks) (store.Crop, error) {
	crop.HasQuality, crop.Quality = true, measure(pixels, landmarks)
	return crop, c.gate.judge(crop.Quality)
}

// mostKept is how many bytes of an aligned crop of a size are kept as they came. What is larger has
// far more in it than its pixels.
func mostKept(size int) int { return 8*size*size + 1<<20 }

// passThrough takes a photograph that is an aligned crop already. It keeps the original bytes
// if every decoder makes the same of them.
func (c *cropper) passThrough(header imgcodec.Header, data []byte) (store.Crop, error) {
	if size := c.contract.CropSize; header.W != size || header.H != size {
		return store.Crop{}, refuse(stageAlign, fmt.Errorf("%w: is %dx%d, want %dx%d: give --detector or --landmarks, or the size with --crop-size",
			errSize, header.W, header.H, size, size))
	}
	photo, format, err := imgcodec.Decode(data, imgcodec.Limits{})
	if err != nil {
		return store.Crop{}, refuse(stageDecode, err)
	}
	if !c.raw {
		defer imgcodec.Recycle(photo)
	}
	crop := store.Crop{ID: store.CropID(c.contract, photo.Pix), Encoding: format, Image: data}
	if c.raw || header.Orientation != 1 || format != imgcodec.JPEG && format != imgcodec.PNG || len(data) > mostKept(c.contract.CropSize) {
		crop = c.encode(photo)
	}
	return c.judge(crop, photo, nil)
}

// encode makes a crop of aligned pixels, without loss.
func (c *cropper) encode(aligned *imgcodec.Image) store.Crop {
	crop := store.Crop{ID: store.CropID(c.contract, aligned.Pix), Encoding: imgcodec.Raw, Image: aligned.Pix}
	if !c.raw {
		crop.Encoding, crop.Image = imgcodec.PNG, imgcodec.EncodeCrop(aligned)
	}
	return crop
}

// encodeJPEG makes a crop as JPEG. aligned becomes the pixels that come out of the JPEG again,
// and these are the crop's.
func (c *cropper) encodeJPEG(aligned *imgcodec.Image) (store.Crop, error) {
	data := imgcodec.EncodeJPEG(aligned, c.jpegQuality)
	if err := imgcodec.DecodeRGB(imgcodec.JPEG, data, aligned.W, aligned.H, aligned.Pix); err != nil {
		return store.Crop{}, fmt.Errorf("decode the crop's own JPEG: %w", err)
	}
	return store.Crop{ID: store.CropID(c.contract, aligned.Pix), Encoding: imgcodec.JPEG, Image: data}, nil
}

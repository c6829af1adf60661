package ingest

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/semaphore"

	"facepipe/ingest/align"
	"facepipe/ingest/detect"
	"facepipe/ingest/source"
	"facepipe/internal/imgcodec"
	"facepipe/store"
)

// pixelBudget bounds the pixels that all workers together hold decoded: two of the
// largest photographs, or some thousand small ones.
const pixelBudget = 2 * imgcodec.DefaultMaxPixels

// cropper makes crops of photographs. It is used by all workers at once.
type cropper struct {
	contract  store.Contract
	raw       bool
	detector  *detect.Detector  // nil without one
	landmarks *source.Landmarks // nil without a file
	pixels    *semaphore.Weighted
}

func newCropper(raw bool) *cropper {
	return &cropper{
		contract: store.Contract{
			CropSize: align.CropSize,
			Template: align.TemplateName,
			Warp:     align.WarpName,
			Decoder:  imgcodec.DecoderName(),
		},
		raw:    raw,
		pixels: semaphore.NewWeighted(pixelBudget),
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

// crop makes the crop of one item: everything but its source, key and identity. A
// fault of the item is a [refusal].
func (c *cropper) crop(ctx context.Context, item source.Item, key string) (store.Crop, error) {
	data, err := item.Read()
	if err != nil {
		return store.Crop{}, refuse(stageRead, fmt.Errorf("%w: %w", errUnreadable, err))
	}
	opened, err := imgcodec.OpenPhoto(data, imgcodec.Limits{})
	if err != nil {
		return store.Crop{}, refuse(stageDecode, err)
	}
	given, err := c.given(item, key)
	if err != nil {
		return store.Crop{}, err
	}
	if given == nil && c.detector == nil && c.landmarks == nil {
		return c.passThrough(opened.Header, data)
	}
	photo := &photograph{Photo: opened, budget: c.pixels}
	defer photo.close()
	return c.alignFace(ctx, photo, item, given)
}

// given looks for landmarks that need no detection; nil if there are none.
func (c *cropper) given(item source.Item, key string) (*face, error) {
	if item.Landmarks != nil {
		return &face{landmarks: *item.Landmarks}, nil
	}
	if c.landmarks == nil {
		return nil, nil
	}
	l, score, ok, err := c.landmarks.Find(key)
	switch {
	case err != nil:
		return nil, err
	case ok:
		return &face{landmarks: l, score: score}, nil
	case c.detector == nil:
		return nil, refuse(stageDetect, fmt.Errorf("%w: the landmark file does not name this key", errNoLandmarks))
	}
	return nil, nil
}

// alignFace warps a photograph's face, which is where given says or else where the
// detector finds it.
func (c *cropper) alignFace(ctx context.Context, photo *photograph, item source.Item, given *face) (store.Crop, error) {
	if given == nil {
		faces, err := photo.detect(ctx, c.detector)
		if err != nil {
			return store.Crop{}, err
		}
		w, h := photo.Size()
		f, err := wanted(faces, item.Box, w, h)
		if err != nil {
			return store.Crop{}, err
		}
		given = &face{landmarks: f.Landmarks, score: f.Score}
	}
	aligned, err := photo.align(ctx, given.landmarks, c.contract.CropSize)
	if err != nil {
		return store.Crop{}, err
	}
	crop := c.encode(aligned)
	crop.HasLandmarks = true
	crop.Score = float32(given.score)
	for i, p := range given.landmarks {
		crop.Landmarks[2*i], crop.Landmarks[2*i+1] = float32(p.X), float32(p.Y)
	}
	return crop, nil
}

// passThrough takes a photograph that is an aligned crop as it is, with its original
// bytes where they say the same to every decoder.
func (c *cropper) passThrough(header imgcodec.Header, data []byte) (store.Crop, error) {
	if size := c.contract.CropSize; header.W != size || header.H != size {
		return store.Crop{}, refuse(stageAlign, fmt.Errorf("%w: is %dx%d, want %dx%d: give --detector or --landmarks",
			errSize, header.W, header.H, size, size))
	}
	photo, format, err := imgcodec.Decode(data, imgcodec.Limits{})
	if err != nil {
		return store.Crop{}, refuse(stageDecode, err)
	}
	if !c.raw && header.Orientation == 1 && (format == imgcodec.JPEG || format == imgcodec.PNG) {
		return store.Crop{ID: store.CropID(c.contract, photo.Pix), Encoding: format, Image: data}, nil
	}
	return c.encode(photo), nil
}

// encode makes a crop of aligned pixels.
func (c *cropper) encode(aligned *imgcodec.Image) store.Crop {
	crop := store.Crop{ID: store.CropID(c.contract, aligned.Pix), Encoding: imgcodec.Raw, Image: aligned.Pix}
	if !c.raw {
		crop.Encoding, crop.Image = imgcodec.PNG, imgcodec.EncodePNG(aligned)
	}
	return crop
}

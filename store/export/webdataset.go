package export

import (
	"encoding/json"
	"fmt"

	"facepipe/internal/webdataset"
	"facepipe/store"
)

// webDataset writes crops as samples of WebDataset shards. A sample's key is the crop's
// row.
type webDataset struct {
	size   int // of the crops, in pixels
	row    int // next
	writer *webdataset.Writer
}

// sampleInfo is a sample's .json file.
type sampleInfo struct {
	Key      string   `json:"key"`
	Identity string   `json:"identity,omitempty"`
	Split    string   `json:"split,omitempty"`
	ID       store.ID `json:"id"`
	Source   int      `json:"source"`
	// PhotoLandmarks are x0, y0 ... y4 in the photograph that the crop is from. Readers
	// take "landmarks" for those of the sample's own image, and would align it again.
	PhotoLandmarks []float32 `json:"photo_landmarks,omitempty"`
	Score          float32   `json:"score,omitempty"`
}

func newWebDataset(r *run) (target, error) {
	w, err := webdataset.NewWriter(r.options.ShardCrops, func(number int) (webdataset.Output, error) {
		f, err := r.stage.create(fmt.Sprintf("%06d.tar", number))
		return shardFile{f}, err
	})
	return &webDataset{size: r.dataset.Contract().CropSize, writer: w}, err
}

func (d *webDataset) add(_ store.Location, c *store.Crop) error {
	data, format, err := imageFile(c, d.size)
	if err != nil {
		return err
	}
	info := sampleInfo{Key: c.Key, Identity: c.Identity, Split: c.Split, ID: c.ID, Source: c.Source, Score: c.Score}
	if c.HasLandmarks {
		info.PhotoLandmarks = c.Landmarks[:]
	}
	text, err := json.Marshal(info)
	if err != nil {
		return fmt.Errorf("crop %q: %w", c.Key, err)
	}
	files := []webdataset.File{{Extension: endings(format)[0][1:], Data: data}}
	if c.Label != store.NoLabel {
		files = append(files, webdataset.File{Extension: "cls", Data: fmt.Append(nil, c.Label)})
	}
	files = append(files, webdataset.File{Extension: "json", Data: text})
	d.row++
	return d.writer.Write(fmt.Sprintf("%09d", d.row-1), files...)
}

func (d *webDataset) close() error { return d.writer.Close() }

func (d *webDataset) abort() { _ = d.writer.Abort() } // the folder is thrown away

// shardFile is a shard in the staging folder, where nothing is durable one by one.
type shardFile struct{ *file }

func (f shardFile) Commit() error { return f.close() }
func (f shardFile) Abort() error  { return f.close() }

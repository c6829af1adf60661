package protocol

import (
	"errors"

	"facepipe/store"
)

// identities number the persons of crops, given in the order of the dataset: by the
// dataset's labels, and with a number of its own for each crop without an identity.
func identities(ds *store.Dataset, crops []store.Location) ([]int32, error) {
	numbers := make([]int32, 0, len(crops))
	unknown := int32(ds.Identities())
	for len(crops) > 0 {
		n := 1
		for n < len(crops) && crops[n].Shard == crops[0].Shard {
			n++
		}
		err := eachLabel(ds, crops[:n], func(label int32) {
			if label == store.NoLabel {
				label = unknown
				unknown++
			}
			numbers = append(numbers, label)
		})
		if err != nil {
			return nil, err
		}
		crops = crops[n:]
	}
	return numbers, nil
}

// eachLabel visits the labels of crops of one shard.
func eachLabel(ds *store.Dataset, crops []store.Location, visit func(label int32)) (err error) {
	shard, err := ds.CropShard(int(crops[0].Shard))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shard.Close()) }()
	for _, at := range crops {
		crop, err := shard.Head(int(at.Row))
		if err != nil {
			return err
		}
		visit(crop.Label)
	}
	return nil
}

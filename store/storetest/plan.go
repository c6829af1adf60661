package storetest

import (
	"errors"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/plan"
)

// DoPlan plans to embed a dataset in the folder job, embeds what parts are missing and puts
// them into the cache: what a plan's maker, its workers and its merge do.
func DoPlan(d *store.Dataset, info cache.Info, job string) error {
	tasks := plan.ShardTasks(d)
	if _, err := plan.WriteOn(d.Disk(), job, plan.Plan{Verb: "test", Teacher: &info, Tasks: tasks}); err != nil {
		return err
	}
	parts, err := cache.OpenParts(d, info, plan.PartsFolder(job))
	if err != nil {
		return err
	}
	for _, task := range tasks {
		done, err := parts.Has(task.Shard)
		if err != nil {
			return err
		}
		if done {
			continue
		}
		if err := TryShard(d, parts, info, task.Shard, nil); err != nil {
			return err
		}
	}
	return MergeParts(d, info, parts)
}

// MergeParts puts the parts of all shards into the cache, and tidies up.
func MergeParts(d *store.Dataset, info cache.Info, parts *cache.Parts) (err error) {
	w, err := cache.Create(d, info)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for _, shard := range w.MissingShards() {
		if err := errors.Join(parts.Verify(shard), parts.Adopt(w, shard)); err != nil {
			return err
		}
	}
	_, err = parts.Tidy()
	return err
}

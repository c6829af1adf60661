// Package storetest builds datasets and teacher caches for tests, hurts them, and judges what
// became of them. All is small and made from numbers: [Crop] makes the i-th crop, a teacher's
// [Embedding] is a function of a crop's id, so that a test knows what it has to read.
//
//	dir := storetest.Build(t, 20, 8)                      // 20 crops in shards of 8
//	d := storetest.Open(t, dir)
//	info := storetest.Info(cache.FP16, true)
//	storetest.Embed(t, d, info, -1, nil)                  // a whole cache
//	teacher := storetest.Cache(t, d, info.Name)
//	storetest.FlipBit(t, dir+"/crops/000001.arrow", 600)
//	storetest.WantDamage(t, dir, "checksum")
//
// What fails ends the test. What returns an error instead is for runs that are meant to fail,
// on a disk that is full or in a process that is killed. Only tests import the package.
package storetest

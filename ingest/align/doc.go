// Package align brings a face into the pose that face embedders are trained on.
//
// [Landmarks] are five points of a face: the eye on the image's left, the eye on
// its right, the tip of the nose, the corner of the mouth on the left and the one
// on the right. [Template] is where they lie in an aligned crop. [Estimate] finds
// the [Similarity] (rotation, uniform scale, shift) that maps a face's landmarks
// closest to the template, and [Crop] resamples the photograph through it.
//
// Coordinates are pixels, x to the right and y down, with the centre of the first
// pixel at (0, 0).
package align

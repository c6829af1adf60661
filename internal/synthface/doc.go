// Package synthface draws parametric faces: pictures with a known identity and
// exact landmarks, from nothing but a seed. The demo, the tests and the bundled
// teacher live on them, so that no photograph of a person has to be shipped.
//
// # Nouns
//
// An [Identity] is what a person looks like: the proportions of head, eyes,
// brows, nose and mouth, the colours of skin, hair and iris, the hairline, a
// beard, lines, moles and freckles. It follows from (seed, i) alone.
//
// A shot is everything that changes from one picture of a person to the next. It
// follows from (seed, i, j) and a difficulty, which scales all of it:
//
//   - pose: yaw and pitch of the head, roll of the camera and its distance;
//   - expression: open mouth, smile, raised brows, lids and gaze;
//   - light: direction, hardness and colour of one lamp over an ambient light;
//   - lens and sensor: exposure, white balance, contrast, saturation, blur, noise
//     and the quality of the JPEG file;
//   - occlusion: glasses, a cap, a bar or a hand before the face;
//   - surroundings: clothes, background gradient, its texture and clutter;
//   - framing: scale and place of the face in a larger photo.
//
// # Head space
//
// A face is modelled in head space: x to the image's right, y down, z towards the
// camera, in pixels of the 112×112 alignment template, with the origin at the
// template's pixel (56, 66). An average face without expression, seen from the
// front, has its landmarks about on the template. Features are curves on a
// relief (an ellipsoid with bumps); a [Generator] turns the head, projects the curves and
// fills them with antialiased coverage, then lights the result by the same
// relief. Landmarks go through the same projection and are therefore exact.
//
// # Determinism
//
// The same arguments give the same bytes, in any order and from any goroutine.
// Geometry is computed in floating point, then rounded to 1/256 pixel (light to
// 1/4096), and everything after that, every pixel included, is integer
// arithmetic. A processor that fuses multiply and add moves a coordinate by some
// 1e-13 pixel, which the rounding absorbs.
package synthface

// Package student trains a small face network against cached teacher embeddings
// and exports it as ONNX.
//
// [Distill] is the whole run: a loader (student/data) reads crops and targets, a
// network (student/net) embeds them, a loss (student/loss) compares, an optimizer
// (student/optim) moves the weights; all tensors live in the training engine
// (student/torch). What a run has reached is kept by student/checkpoint, and written as ONNX by
// student/export. The stages of a run are listed in run.all. A run is a folder:
//
//	RUN/
//	  run.json               what is trained on what, and how: fixed at the start
//	  distill.yaml           the settings, by which the run can be repeated
//	  metrics.jsonl          one line a logged step, one a validation
//	  tensorboard/           the same as event files
//	  checkpoints/           the newest ones and the best, safetensors; best.json names that
//	  diverged.json          why the run was given up, if it was
//	  student.onnx           the result: the last step's weights, or their average
//	  summary.json           the run in numbers, written last
//
// Every random choice follows from the seed and the step, and a checkpoint holds
// all that a step depends on, so a run that was killed and resumed takes the same
// steps as one that was not.
//
// All but the event files carry digests of themselves; the lines of metrics.jsonl each one. [Audit]
// looks at all files.
package student

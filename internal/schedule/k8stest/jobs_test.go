// Package k8stest decodes what is emitted for Kubernetes into its own types, and runs it as
// a cluster would.
package k8stest

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// jobs are what is emitted: workers that share a plan, and the merge.
type jobs struct{ workers, merge batchv1.Job }

// decode refuses fields that batch/v1 does not know, and what is not two Jobs of one
// container each.
func decode(t *testing.T, text []byte) (j jobs) {
	t.Helper()
	documents := bytes.Split(text, []byte("\n---\n"))
	if len(documents) != 2 {
		t.Fatalf("%d documents", len(documents))
	}
	for i, job := range []*batchv1.Job{&j.workers, &j.merge} {
		if err := yaml.UnmarshalStrict(documents[i], job); err != nil {
			t.Fatalf("document %d: %v", i, err)
		}
		if job.APIVersion != "batch/v1" || job.Kind != "Job" || job.Name == "" || len(job.Spec.Template.Spec.Containers) != 1 {
			t.Fatalf("document %d is %+v", i, job)
		}
	}
	return j
}

func TestGoldenFiles(t *testing.T) {
	files, err := filepath.Glob("../testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(file), func(t *testing.T) { check(t, text) })
	}
}

// check holds emitted YAML to what the API's server and the program's exit statuses ask
// for.
func check(t *testing.T, text []byte) jobs {
	t.Helper()
	j := decode(t, text)
	checkWorkers(t, j.workers.Spec)
	checkMerge(t, j, text)
	for _, job := range []batchv1.Job{j.workers, j.merge} {
		pod := job.Spec.Template.Spec
		c := pod.Containers[0]
		// Only pods that are not restarted in place may have a failure policy.
		if pod.RestartPolicy != corev1.RestartPolicyNever {
			t.Errorf("%s: restart policy %q", job.Name, pod.RestartPolicy)
		}
		// The program has as many threads as the limit allows.
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			wanted, most := c.Resources.Requests[name], c.Resources.Limits[name]
			if wanted.IsZero() || wanted.Cmp(most) != 0 {
				t.Errorf("%s: %s of %v is requested, the limit is %v", job.Name, name, &wanted, &most)
			}
		}
		if len(c.VolumeMounts) != 1 || len(pod.Volumes) != 1 || c.VolumeMounts[0].Name != pod.Volumes[0].Name || pod.Volumes[0].PersistentVolumeClaim == nil {
			t.Errorf("%s: mounts %+v, volumes %+v", job.Name, c.VolumeMounts, pod.Volumes)
		}
	}
	return j
}

func checkWorkers(t *testing.T, spec batchv1.JobSpec) {
	t.Helper()
	if spec.CompletionMode == nil || *spec.CompletionMode != batchv1.IndexedCompletion || spec.Completions == nil || spec.Parallelism == nil ||
		*spec.Parallelism > *spec.Completions || *spec.Parallelism < 1 || spec.BackoffLimitPerIndex == nil || spec.Suspend != nil {
		t.Fatalf("%+v is no Indexed Job", spec)
	}
	env := spec.Template.Spec.Containers[0].Env
	if len(env) != 1 || env[0].Name != "PIPE_WORKERS" || env[0].Value != strconv.Itoa(int(*spec.Completions)) {
		t.Errorf("the environment of %d workers is %+v", *spec.Completions, env)
	}
	checkFailures(t, spec, map[int32]batchv1.PodFailurePolicyAction{
		1: "", 2: batchv1.PodFailurePolicyActionFailIndex, 4: batchv1.PodFailurePolicyActionFailIndex,
		75: batchv1.PodFailurePolicyActionIgnore, 134: batchv1.PodFailurePolicyActionCount, 137: "",
	})
}

func checkMerge(t *testing.T, j jobs, text []byte) {
	t.Helper()
	if command := j.merge.Spec.Template.Spec.Containers[0].Command; command[1] != "merge" || j.merge.Name != j.workers.Name+"-merge" {
		t.Errorf("the second job is %s and runs %q", j.merge.Name, command)
	}
	checkFailures(t, j.merge.Spec, map[int32]batchv1.PodFailurePolicyAction{
		1: "", 2: batchv1.PodFailurePolicyActionFailJob, 3: batchv1.PodFailurePolicyActionFailJob, 4: batchv1.PodFailurePolicyActionFailJob,
		75: batchv1.PodFailurePolicyActionIgnore, 134: batchv1.PodFailurePolicyActionCount, 137: "",
	})
	// It waits, until it is patched as the file says.
	if j.merge.Spec.Suspend == nil || !*j.merge.Spec.Suspend {
		t.Error("the merge does not wait for the workers")
	}
	patch := regexp.MustCompile(`kubectl patch job/(\S+) --type=merge --patch='(.*)'\n`).FindSubmatch(text)
	if patch == nil || string(patch[1]) != j.merge.Name {
		t.Fatalf("no word of how the merge goes on: %q", patch)
	}
	patched := j.merge.DeepCopy()
	if err := json.Unmarshal(patch[2], patched); err != nil || *patched.Spec.Suspend {
		t.Errorf("patched by %s the merge is suspended: %v, %v", patch[2], *patched.Spec.Suspend, err)
	}
}

// checkFailures looks at what becomes of pods that end with a status; "" is another try,
// which counts.
func checkFailures(t *testing.T, spec batchv1.JobSpec, want map[int32]batchv1.PodFailurePolicyAction) {
	t.Helper()
	for status, action := range want {
		if got := reaction(spec, status); got != action {
			t.Errorf("status %d has action %q, want %q", status, got, action)
		}
	}
	evicted := slices.ContainsFunc(spec.PodFailurePolicy.Rules, func(r batchv1.PodFailurePolicyRule) bool {
		return r.Action == batchv1.PodFailurePolicyActionIgnore && slices.ContainsFunc(r.OnPodConditions, func(c batchv1.PodFailurePolicyOnPodConditionsPattern) bool {
			return c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue
		})
	})
	if !evicted {
		t.Error("an evicted pod counts as a failure")
	}
}

// reaction is the action of the first rule for a status of the only container.
func reaction(spec batchv1.JobSpec, status int32) batchv1.PodFailurePolicyAction {
	for _, rule := range spec.PodFailurePolicy.Rules {
		codes := rule.OnExitCodes
		if codes == nil || codes.ContainerName == nil || *codes.ContainerName != spec.Template.Spec.Containers[0].Name {
			continue
		}
		if slices.Contains(codes.Values, status) == (codes.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn) {
			return rule.Action
		}
	}
	return ""
}

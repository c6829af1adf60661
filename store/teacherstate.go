package store

import "errors"

// TeacherState is a teacher cache and how far it is.
type TeacherState struct {
	TeacherInfo
	// Rows of the dataset's are embedded, Invalid embeddings among them without use.
	Rows    int `json:"rows"`
	Invalid int `json:"invalid"`
	// Missing rows, in MissingShards, are still to be embedded.
	Missing       int `json:"missing"`
	MissingShards int `json:"missing_shards"`
	// Bytes is the size of the shards, without manifests.
	Bytes int64 `json:"bytes"`
	// Digest is [Teacher.Digest], "" while shards are missing.
	Digest string `json:"digest,omitempty"`
	// Centres, the derived class centres and crop qualities, are current, outdated,
	// missing or damaged. Their tables are not read.
	Centres      string `json:"centres"`
	CentresBytes int64  `json:"centres_bytes"`
	// Runs sums up the records of the runs that filled the cache.
	Runs RunTotals `json:"runs"`
	// Classifier says where an imported classifier matrix is from, nil without one.
	Classifier *ClassifierInfo `json:"classifier,omitempty"`
}

// ListTeachers looks at all manifests of the teacher caches of the dataset in dir,
// sorted by name; at no embedding. The errors are those of [Open] and
// [Dataset.OpenTeacher].
func ListTeachers(dir string, options ...Option) (states []TeacherState, err error) {
	d, err := Open(dir, options...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return teacherStates(d)
}

func teacherStates(d *Dataset) ([]TeacherState, error) {
	names, err := d.Teachers()
	if err != nil {
		return nil, err
	}
	states := []TeacherState{}
	for _, name := range names {
		t, err := d.OpenTeacher(name)
		if err != nil {
			return nil, err
		}
		s, err := stateOf(t)
		if err != nil {
			return nil, err
		}
		states = append(states, s)
	}
	return states, nil
}

func stateOf(t *Teacher) (s TeacherState, err error) {
	s = TeacherState{TeacherInfo: t.Info(), Rows: t.Rows(), Invalid: t.Invalid(), MissingShards: len(t.MissingShards()), Bytes: t.Bytes()}
	s.Missing = t.Dataset().Rows() - s.Rows
	s.Centres, s.CentresBytes = centresState(t)
	if s.Classifier, err = findClassifier(t); err != nil {
		return s, err
	}
	runs, err := t.Runs()
	if err != nil {
		return s, err
	}
	s.Runs = SumRuns(runs)
	if s.MissingShards == 0 {
		s.Digest, err = t.Digest()
	}
	return s, err
}

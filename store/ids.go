package store

// IDs reads the ids of a crop shard's rows, and nothing else of them: who stores something
// about crops writes down whose it is. Close it after use. For one goroutine.
type IDs struct{ file *cropFile }

// IDs opens those of shard i, for the caller alone. [ErrDamaged].
func (d *Dataset) IDs(i int) (*IDs, error) {
	f, err := d.openCrops(i)
	if err != nil {
		return nil, err
	}
	return &IDs{f}, nil
}

// EachID visits the ids of shard i in the order of its rows. [ErrDamaged].
func (d *Dataset) EachID(i int, visit func(ID)) error {
	f, err := d.openCrops(i)
	if err != nil {
		return err
	}
	return f.eachColumns(func(c *cropColumns) error {
		for k := range c.rows() {
			visit(c.idAt(k))
		}
		return nil
	})
}

// At is the id of the crop in a row; another row panics. [ErrDamaged] if the batch that holds
// it does not match its checksum.
func (s *IDs) At(row int) (ID, error) {
	b, k := s.file.Find(row)
	c, err := s.file.Columns[b]()
	if err != nil {
		return ID{}, err
	}
	return c.idAt(k), nil
}

// Close unmaps the file.
func (s *IDs) Close() error { return s.file.Close() }

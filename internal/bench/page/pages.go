package page

func WritePages(r *Results, dir, scaling string) error { return nil }

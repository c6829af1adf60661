package main

func (a *attack) hostileInputs() {}
func (a *attack) kills()         {}

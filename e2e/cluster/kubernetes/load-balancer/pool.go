package main

import (
	"fmt"
	"net/netip"
)

// pool is a range of addresses and who has which. It knows nothing of Kubernetes.
type pool struct {
	prefix netip.Prefix
	owners map[netip.Addr]string
}

// claim notes that an owner has an address; it fails where the address is not to be had.
func (p *pool) claim(address netip.Addr, owner string) error {
	if !p.offers(address) {
		return fmt.Errorf("%v is not an address of %v", address, p.prefix)
	}
	if other, taken := p.owners[address]; taken && other != owner {
		return fmt.Errorf("%v belongs to Service %s", address, other)
	}
	p.owners[address] = owner
	return nil
}

// next claims the lowest address that nobody has.
func (p *pool) next(owner string) (netip.Addr, error) {
	for address := p.prefix.Addr().Next(); p.offers(address); address = address.Next() {
		if _, taken := p.owners[address]; !taken {
			p.owners[address] = owner
			return address, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("every address of %v is taken", p.prefix)
}

// offers tells whether an address is in the range and neither its first nor its last, which name a network.
func (p *pool) offers(address netip.Addr) bool {
	return p.prefix.Contains(address) && p.prefix.Contains(address.Next()) && address != p.prefix.Addr()
}

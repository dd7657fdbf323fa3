package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/netip"
	"sort"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/record"
)

// balancer brings the status of every Service in line with the pool, one whole pass at a time.
type balancer struct {
	client   kubernetes.Interface
	services corelisters.ServiceLister
	recorder record.EventRecorder
	pool     pool
	// What an event was written about, so that it is written once. Keyed by UID.
	refused map[string]string
	// What was written and has perhaps not come back through the watch yet. Keyed by UID.
	written map[string]string
}

// pass decides who has which address and writes what differs.
func (b *balancer) pass(ctx context.Context) error {
	services, err := b.services.List(labels.Everything())
	if err != nil {
		return err
	}
	// The oldest is served first: a later one cannot take what it has asked for.
	sort.Slice(services, func(i, j int) bool {
		a, z := services[i], services[j]
		if !a.CreationTimestamp.Equal(&z.CreationTimestamp) {
			return a.CreationTimestamp.Before(&z.CreationTimestamp)
		}
		return name(a) < name(z)
	})

	wanted := b.decide(services)
	var failures []error
	alive := map[string]bool{}
	for _, service := range services {
		uid := string(service.UID)
		alive[uid] = true
		if err := b.write(ctx, service, wanted[uid]); err != nil && !apierrors.IsNotFound(err) {
			failures = append(failures, fmt.Errorf("%s: %w", name(service), err))
		}
	}
	for _, noted := range []map[string]string{b.refused, b.written} {
		for uid := range noted {
			if !alive[uid] {
				delete(noted, uid)
			}
		}
	}
	return errors.Join(failures...)
}

// decide says which address each Service is to have, by UID. What a Service has it keeps, unless it asks for another.
func (b *balancer) decide(services []*corev1.Service) map[string]string {
	b.pool.owners = map[netip.Addr]string{}
	wanted := map[string]string{}
	keep := func(service *corev1.Service, address string) error {
		parsed, err := netip.ParseAddr(address)
		if err == nil {
			err = b.pool.claim(parsed, name(service))
		}
		if err == nil {
			wanted[string(service.UID)] = parsed.String()
			delete(b.refused, string(service.UID))
		}
		return err
	}
	for _, service := range services {
		if has := b.has(service); ours(service) && has != "" && asks(service, has) {
			_ = keep(service, has)
		}
	}
	for _, service := range services {
		uid := string(service.UID)
		if !ours(service) || wanted[uid] != "" {
			continue
		}
		var err error
		if requested := service.Spec.LoadBalancerIP; requested != "" {
			err = keep(service, requested)
		} else {
			var address netip.Addr
			if address, err = b.pool.next(name(service)); err == nil {
				wanted[uid] = address.String()
			}
		}
		if err != nil {
			b.refuse(service, err)
		}
	}
	return wanted
}

// refuse writes an event about a Service that stays without an address, once per reason.
func (b *balancer) refuse(service *corev1.Service, why error) {
	uid := string(service.UID)
	if b.refused[uid] == why.Error() {
		return
	}
	b.refused[uid] = why.Error()
	log.Printf("%s: %v", name(service), why)
	b.recorder.Event(service, corev1.EventTypeWarning, "AddressNotAssigned", why.Error())
}

// write makes a Service's status say the address, or none.
func (b *balancer) write(ctx context.Context, service *corev1.Service, address string) error {
	uid := string(service.UID)
	// A class names another program, whose status this is.
	if service.Spec.LoadBalancerClass != nil || b.has(service) == address {
		return nil
	}
	ingress := []corev1.LoadBalancerIngress{}
	if address != "" {
		mode := corev1.LoadBalancerIPModeVIP
		ingress = append(ingress, corev1.LoadBalancerIngress{IP: address, IPMode: &mode})
	}
	patch, err := json.Marshal(map[string]any{
		// A Service of the same name that came after this one is not to get its address.
		"metadata": map[string]any{"uid": service.UID},
		"status":   map[string]any{"loadBalancer": map[string]any{"ingress": ingress}},
	})
	if err != nil {
		return err
	}
	_, err = b.client.CoreV1().Services(service.Namespace).Patch(
		ctx, service.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return err
	}
	log.Printf("%s: %q", name(service), address)
	b.written[uid] = address
	return nil
}

// has is the address that a Service was given last.
func (b *balancer) has(service *corev1.Service) string {
	listed := ""
	if ingress := service.Status.LoadBalancer.Ingress; len(ingress) > 0 {
		listed = ingress[0].IP
	}
	written, known := b.written[string(service.UID)]
	if known && written == listed {
		delete(b.written, string(service.UID))
	} else if known {
		return written
	}
	return listed
}

// ours tells whether this program is to give a Service an address.
func ours(service *corev1.Service) bool {
	return service.Spec.Type == corev1.ServiceTypeLoadBalancer && service.Spec.LoadBalancerClass == nil
}

// asks tells whether an address is what a Service wants: any, unless it names one.
func asks(service *corev1.Service, address string) bool {
	return service.Spec.LoadBalancerIP == "" || service.Spec.LoadBalancerIP == address
}

func name(service *corev1.Service) string {
	return service.Namespace + "/" + service.Name
}

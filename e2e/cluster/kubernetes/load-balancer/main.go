// Command load-balancer gives Services of type LoadBalancer an address, as a cloud's controller would.
//
// It owns status.loadBalancer of Services without a load-balancer class, and a range of addresses that the node's
// kube-proxy answers for. A Service that asks for an address (spec.loadBalancerIP) gets that one or none: an event then
// says why, and the Service gets it as soon as it is free. Which Service has what is read from the cluster, so that
// this program can be restarted at any time.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"os/signal"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"
)

// A pass that failed (an API server that restarts, a conflict) is repeated after this long.
const retryAfter = 500 * time.Millisecond

func main() {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server")
	ranged := flag.String("range", "", "the prefix that addresses are taken from; its first and last are left out")
	flag.Parse()

	prefix, err := netip.ParsePrefix(*ranged)
	if err != nil {
		log.Fatalf("--range: %v", err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		log.Fatalf("--kubeconfig: %v", err)
	}
	// A thousand Services that come at once are to be served at once.
	config.QPS, config.Burst = 500, 1000
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, client, prefix.Masked()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, client kubernetes.Interface, prefix netip.Prefix) error {
	events := record.NewBroadcaster()
	events.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	defer events.Shutdown()
	source := corev1.EventSource{Component: "load-balancer"}

	factory := informers.NewSharedInformerFactory(client, 0)
	services := factory.Core().V1().Services()
	b := &balancer{
		client:   client,
		services: services.Lister(),
		recorder: events.NewRecorder(scheme.Scheme, source),
		pool:     pool{prefix: prefix},
		refused:  map[string]string{},
		written:  map[string]string{},
	}

	// One wake-up stands for any number of changes: a pass looks at all Services.
	wake := make(chan struct{}, 1)
	changed := func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	_, err := services.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { changed() },
		UpdateFunc: func(any, any) { changed() },
		DeleteFunc: func(any) { changed() },
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced && ctx.Err() == nil {
			return fmt.Errorf("no list of %v", kind)
		}
	}
	log.Printf("addresses from %v", prefix)

	for {
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		}
		if err := b.pass(ctx); err != nil {
			log.Print(err)
			time.AfterFunc(retryAfter, changed)
		}
	}
}

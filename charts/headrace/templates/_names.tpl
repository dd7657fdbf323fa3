{{/*
Names, labels and images.

An installation's objects carry its name, so that two can be in a cluster. Names are cut so that the longest suffix,
`-dataplane-` and a pod set's 22 octets, fits into the 63 octets of a label.
*/}}
{{- define "headrace.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 30 | trimSuffix "-" -}}
{{- end -}}

{{- define "headrace.fullname" -}}
{{- $name := include "headrace.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 30 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 30 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 30 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "headrace.controller" -}}{{ include "headrace.fullname" . }}-controller{{- end -}}
{{- define "headrace.push" -}}{{ include "headrace.controller" . }}-push{{- end -}}
{{- define "headrace.ca" -}}{{ include "headrace.fullname" . }}-push-ca{{- end -}}
{{- define "headrace.quic" -}}{{ include "headrace.fullname" . }}-quic{{- end -}}
{{- define "headrace.ingress" -}}{{ include "headrace.fullname" . }}-ingress{{- end -}}

{{/* The name of a pod set's Deployment, ServiceAccount and headless Service. Of: root, set (its name). */}}
{{- define "headrace.dataplane" -}}
{{- $base := printf "%s-dataplane" (include "headrace.fullname" .root) -}}
{{- if eq .set "default" -}}{{ $base }}{{- else -}}{{ $base }}-{{ .set }}{{- end -}}
{{- end -}}

{{/* What selects the pods of an installation. */}}
{{- define "headrace.selector" -}}
app.kubernetes.io/name: {{ include "headrace.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "headrace.controller.selector" -}}
{{ include "headrace.selector" . }}
app.kubernetes.io/component: controller
{{- end -}}

{{/* Of: root, set. */}}
{{- define "headrace.dataplane.selector" -}}
{{ include "headrace.selector" .root }}
app.kubernetes.io/component: dataplane
headrace.dev/pod-set: {{ .set }}
{{- end -}}

{{/*
`labels` and `annotations` of an object, below `metadata`. Of: root, labels and annotations (maps or nil; the chart's own win).
*/}}
{{- define "headrace.metadata" -}}
{{- $own := dict
    "app.kubernetes.io/name" (include "headrace.name" .root)
    "app.kubernetes.io/instance" .root.Release.Name
    "app.kubernetes.io/version" .root.Chart.AppVersion
    "app.kubernetes.io/managed-by" .root.Release.Service
    "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") -}}
labels:
  {{- merge $own (deepCopy (default dict .labels)) .root.Values.commonLabels | toYaml | nindent 2 }}
{{- with merge (deepCopy (default dict .annotations)) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
`labels` and `annotations` of a pod template: nothing that changes with every release, since pods roll when it does, and
tunnels end with them. Of: root, selector (as YAML), labels and annotations.
*/}}
{{- define "headrace.podMetadata" -}}
labels:
  {{- merge (fromYaml .selector) .labels .root.Values.commonLabels | toYaml | nindent 2 }}
{{- with merge (deepCopy .annotations) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* An image's reference. Of: root, image. */}}
{{- define "headrace.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ default .root.Chart.AppVersion .image.tag }}
{{- end -}}
{{- end -}}

{{/*
Every pod set with its values, as JSON: those of `dataplane`, and over them those of `podSets`.
*/}}
{{- define "headrace.podSets" -}}
{{- $sets := dict "default" .Values.dataplane -}}
{{- range $name, $values := .Values.podSets -}}
{{- $_ := set $sets $name (mustMergeOverwrite (deepCopy $.Values.dataplane) (deepCopy (default dict $values))) -}}
{{- end -}}
{{- toJson $sets -}}
{{- end -}}

{{- define "pointsman.name" -}}
{{- if contains .Chart.Name .Release.Name -}}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{/* It belongs to no namespace, but the release does. */}}
{{- define "pointsman.role" -}}
{{- printf "%s-%s" (include "pointsman.name" .) .Release.Namespace -}}
{{- end }}

{{- define "pointsman.account" -}}
{{- .Values.serviceAccount.name | default (ternary (include "pointsman.name" .) "default" .Values.serviceAccount.create) -}}
{{- end }}

{{- define "pointsman.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "pointsman.labels" -}}
{{ include "pointsman.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "pointsman.image" -}}
{{- if .Values.image.digest -}}{{ printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else -}}{{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end -}}
{{- end }}

{{/* Where the API server is, as JSON: host and port; empty if the configuration in use says it itself. */}}
{{- define "pointsman.api" -}}
{{- $host := .Values.api.host -}}
{{- $port := .Values.api.port -}}
{{- $told := or .Values.existingConfigMap ((.Values.config | default dict).clientConnection | default dict).kubeconfig -}}
{{- if not (or $host $told) -}}
  {{- $found := lookup "v1" "ConfigMap" "kube-system" "kube-proxy" | default dict -}}
  {{- $clusters := (dig "data" "kubeconfig.conf" "" $found | fromYaml).clusters | default list -}}
  {{- if not $clusters -}}
    {{- fail "api.host is not set, and there is no ConfigMap kube-proxy in kube-system that tells: give the address at which nodes reach the API server, for example --set api.host=10.0.0.10 (`kubectl config view --minify -o jsonpath='{.clusters[0].cluster.server}'` shows yours). It must not be the cluster IP of the Service kubernetes, which does not work before pointsman has programmed it." -}}
  {{- end -}}
  {{- $url := urlParse (first $clusters).cluster.server -}}
  {{- $host = regexReplaceAll ":[0-9]+$" $url.host "" | trimPrefix "[" | trimSuffix "]" -}}
  {{- $port = regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default "443" -}}
{{- end -}}
{{- if $host -}}{{ dict "host" $host "port" ($port | toString) | toJson }}{{- else -}}{}{{- end -}}
{{- end }}

{{/* The existing ConfigMap's data as JSON; {} where helm does not look into the cluster. Where helm does it must be there, besides for cleaning up. */}}
{{- define "pointsman.existing" -}}
{{- $name := .Values.existingConfigMap -}}
{{- $data := (lookup "v1" "ConfigMap" .Release.Namespace $name | default dict).data | default dict -}}
{{- if and (not .Values.cleanup) (lookup "v1" "Namespace" "" .Release.Namespace) -}}
  {{- if not (index $data "config.conf") -}}
    {{- fail (printf "existingConfigMap is %q, but namespace %q has no ConfigMap of this name with the key config.conf: install into the namespace where it is (kubeadm: kube-system), or copy it" $name .Release.Namespace) -}}
  {{- end -}}
{{- end -}}
{{ $data | toJson }}
{{- end }}

{{/* The KubeProxyConfiguration in use as JSON, as far as helm knows it. */}}
{{- define "pointsman.in-use" -}}
{{- $found := .Values.config | default dict -}}
{{- if .Values.existingConfigMap -}}
  {{- $data := include "pointsman.existing" . | fromJson -}}
  {{- range splitList "\n---" (index $data "config.conf" | default "") -}}
    {{- $document := . | trimPrefix "---" | fromYaml -}}
    {{- if eq ($document.kind | default "" | toString) "KubeProxyConfiguration" -}}{{- $found = $document -}}{{- end -}}
  {{- end -}}
{{- end -}}
{{ $found | toJson }}
{{- end }}

{{/* The host of an address `host:port`, without brackets. */}}
{{- define "pointsman.host" -}}
{{- regexReplaceAll ":[0-9]+$" . "" | trimPrefix "[" | trimSuffix "]" -}}
{{- end }}

{{/* The configuration file that the chart writes: what is given, and the addresses that the Pods' probes and Prometheus are told. */}}
{{- define "pointsman.config" -}}
{{- $given := .Values.config | default dict -}}
{{- $mode := $given.mode | default .Values.mode -}}
{{- if and .Values.mode (ne $mode .Values.mode) -}}
  {{- fail (printf "mode is %q and config.mode is %q: say it once" .Values.mode $mode) -}}
{{- end -}}
{{- $ours := dict "apiVersion" "kubeproxy.config.k8s.io/v1alpha1" "kind" "KubeProxyConfiguration" -}}
{{- if $mode -}}{{- $_ := set $ours "mode" $mode -}}{{- end -}}
{{- $ipv6 := contains ":" ($given.bindAddress | default "") -}}
{{- $all := ternary "[::]" "0.0.0.0" $ipv6 -}}
{{- $own := ternary "[::1]" "127.0.0.1" $ipv6 -}}
{{- if not $given.healthzBindAddress -}}
  {{- $_ := set $ours "healthzBindAddress" (printf "%s:%d" $all (int .Values.health.port)) -}}
{{- end -}}
{{- if not $given.metricsBindAddress -}}
  {{- $_ := set $ours "metricsBindAddress" (printf "%s:%d" (ternary $all $own .Values.metrics.expose) (int .Values.metrics.port)) -}}
{{- else if .Values.metrics.expose -}}
  {{- fail "config.metricsBindAddress and metrics.expose are both set: say it once" -}}
{{- end -}}
{{ merge $ours (deepCopy $given) | toYaml }}
{{- if .Values.pointsmanConfig }}
---
{{ merge (dict "apiVersion" "pointsman.dev/v1alpha1" "kind" "PointsmanConfiguration") (deepCopy .Values.pointsmanConfig) | toYaml }}
{{- end }}
{{- end }}

{{- define "pointsman.check" -}}
{{- if .Values.existingConfigMap -}}
  {{- range $name := list "mode" "config" "pointsmanConfig" -}}
    {{- if index $.Values $name -}}
      {{- fail (printf "%s has no effect beside existingConfigMap, which is used as it is: change %q itself, or leave existingConfigMap empty" $name $.Values.existingConfigMap) -}}
    {{- end -}}
  {{- end -}}
  {{- if .Values.metrics.expose -}}
    {{- fail (printf "metrics.expose has no effect beside existingConfigMap: set metricsBindAddress in %q itself" .Values.existingConfigMap) -}}
  {{- end -}}
{{- else if and .Values.serviceMonitor.enabled (not (or .Values.metrics.expose (.Values.config | default dict).metricsBindAddress)) -}}
  {{- fail "serviceMonitor.enabled needs metrics.expose: without it metrics are served on 127.0.0.1 only, where Prometheus does not reach them" -}}
{{- end -}}
{{- $used := include "pointsman.in-use" . | fromJson -}}
{{- $where := ternary (printf "ConfigMap %s: " .Values.existingConfigMap) "config." (not (not .Values.existingConfigMap)) -}}
{{- $health := $used.healthzBindAddress | default "" -}}
{{- if and $health (not (hasSuffix (printf ":%d" (int .Values.health.port)) $health)) -}}
  {{- fail (printf "%shealthzBindAddress is %q and health.port is %d: the Pods' probes ask at health.port, so both must name the same port" $where $health (int .Values.health.port)) -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled $used.kind .Values.existingConfigMap (not $used.metricsBindAddress) -}}
  {{- fail (printf "%smetricsBindAddress is empty, which means 127.0.0.1, where Prometheus does not reach metrics, as serviceMonitor.enabled needs: make it \"0.0.0.0:%d\" there" $where (int .Values.metrics.port)) -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled $used.metricsBindAddress -}}
  {{- if regexMatch "^(127[.].*|::1|localhost)$" (include "pointsman.host" $used.metricsBindAddress) -}}
    {{- fail (printf "%smetricsBindAddress is %q, where Prometheus does not reach metrics, as serviceMonitor.enabled needs: make it an address that others reach" $where $used.metricsBindAddress) -}}
  {{- end -}}
  {{- if not (hasSuffix (printf ":%d" (int .Values.metrics.port)) $used.metricsBindAddress) -}}
    {{- fail (printf "%smetricsBindAddress is %q and metrics.port is %d: Prometheus is told metrics.port, so both must name the same port" $where $used.metricsBindAddress (int .Values.metrics.port)) -}}
  {{- end -}}
{{- end -}}
{{- end }}

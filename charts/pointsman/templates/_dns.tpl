{{/* What of DNS follows from the values; the agent gets it as arguments, which count beside every configuration file. */}}

{{/* "true" if the agent answers DNS, whoever says so. */}}
{{- define "pointsman.dns-on" -}}
{{- $on := or .Values.dns.enabled (((.Values.pointsmanConfig | default dict).dns | default dict).enabled | default false) -}}
{{- range .Values.extraArgs -}}
  {{- if regexMatch "^--?dns(=(1|[tT]|true|TRUE|True))?$" . -}}{{- $on = true -}}{{- end -}}
{{- end -}}
{{- if $on -}}true{{- end -}}
{{- end }}

{{/* The ConfigMap with the Corefile; empty where the agent writes its own. */}}
{{- define "pointsman.dns-map" -}}
{{- if .Values.dns.enabled -}}
  {{- if .Values.dns.existingConfigMap -}}{{ .Values.dns.existingConfigMap }}
  {{- else if .Values.dns.corefile -}}{{ include "pointsman.name" . }}-dns
  {{- end -}}
{{- end -}}
{{- end }}

{{/* The Corefile as far as helm sees it. */}}
{{- define "pointsman.dns-corefile" -}}
{{- if .Values.dns.enabled -}}
  {{- if .Values.dns.existingConfigMap -}}
    {{- dig "data" "Corefile" "" (lookup "v1" "ConfigMap" .Release.Namespace .Values.dns.existingConfigMap | default dict) -}}
  {{- else -}}{{ .Values.dns.corefile }}
  {{- end -}}
{{- end -}}
{{- end }}

{{- define "pointsman.dns-arguments" -}}
{{- $found := list -}}
{{- if .Values.dns.enabled -}}
  {{- $found = list "--dns" (printf "--dns-addresses=%s" .Values.dns.localAddress) (printf "--dns-take-vip=%t" .Values.dns.takeVip) -}}
  {{- if include "pointsman.dns-map" . -}}{{- $found = append $found "--corefile=/etc/coredns/Corefile" -}}{{- end -}}
{{- end -}}
{{ $found | toJson }}
{{- end }}

{{/* The rules that the Corefile needs besides the agent's own, as a list in YAML; empty if none. */}}
{{- define "pointsman.dns-rules" -}}
{{- $corefile := include "pointsman.dns-corefile" . -}}
{{- $rules := list -}}
{{- if include "pointsman.dns-on" . -}}
  {{- range $kind, $need := .Files.Get "files/clusterrole-dns.yaml" | fromYaml -}}
    {{- if or (has $kind $.Values.dns.reads) (regexMatch $need.corefile $corefile) -}}{{- $rules = concat $rules $need.rules -}}{{- end -}}
  {{- end -}}
{{- end -}}
{{- if $rules -}}{{ $rules | toYaml }}{{- end -}}
{{- end }}

{{/* What rolls the Pods: a Corefile that a running agent does not read again by itself. `hosts` has a `reload` of its own, which is no such. */}}
{{- define "pointsman.dns-fingerprint" -}}
{{- $corefile := include "pointsman.dns-corefile" . -}}
{{- $plugins := regexReplaceAll "(?m)^\\s*hosts\\b[^{}\\n]*\\{[^{}]*\\}" $corefile "" -}}
{{- if and $corefile (not (regexMatch "(?m)^\\s*reload\\b" $plugins)) -}}{{ $corefile | sha256sum | trunc 16 }}{{- end -}}
{{- end }}

{{- define "pointsman.dns-check" -}}
{{- $ours := (.Values.pointsmanConfig | default dict).dns | default dict -}}
{{- $said := dict "enabled" "enabled" "corefile" "corefile" "addresses" "localAddress" "takeVip" "takeVip" -}}
{{- if .Values.dns.enabled -}}
  {{- range $theirs, $own := $said -}}
    {{- if not (kindIs "invalid" (index $ours $theirs)) -}}
      {{- fail (printf "dns.%s and pointsmanConfig.dns.%s are both set: say it once, with dns.enabled in `dns`" $own $theirs) -}}
    {{- end -}}
  {{- end -}}
  {{- if and .Values.dns.corefile .Values.dns.existingConfigMap -}}
    {{- fail "dns.corefile and dns.existingConfigMap are both set: say it once" -}}
  {{- end -}}
  {{- $name := .Values.dns.existingConfigMap -}}
  {{- $corefile := include "pointsman.dns-corefile" . -}}
  {{- if and $name (not $corefile) (not .Values.cleanup) (lookup "v1" "Namespace" "" .Release.Namespace) -}}
    {{- fail (printf "dns.existingConfigMap is %q, but namespace %q has no ConfigMap of this name with the key Corefile: install into the namespace where it is, or copy it" $name .Release.Namespace) -}}
  {{- end -}}
  {{- if and .Values.dns.metrics.enabled (or $corefile (not $name)) -}}
    {{- if not (regexMatch (printf "(?m)^\\s*prometheus\\s+\"?\\S*:%d\\b" (int .Values.dns.metrics.port)) $corefile) -}}
      {{- fail (printf "dns.metrics.enabled needs a Corefile with `prometheus :%d`: without it the port that Prometheus is told is not served (kubeadm's own Corefile has it; where none is given, metrics are at 127.0.0.1:9253 only)" (int .Values.dns.metrics.port)) -}}
    {{- end -}}
    {{- if regexMatch (printf "(?m)^\\s*prometheus\\s+\"?(127[0-9.]*|localhost|\\[::1\\]):%d\\b" (int .Values.dns.metrics.port)) $corefile -}}
      {{- fail "dns.metrics.enabled: `prometheus` in the Corefile is at a loopback address, where Prometheus does not reach it: write `prometheus :9153` there, and dns.metrics.port accordingly" -}}
    {{- end -}}
  {{- end -}}
{{- else if or .Values.dns.corefile .Values.dns.existingConfigMap .Values.dns.metrics.enabled -}}
  {{- if include "pointsman.dns-on" . -}}
    {{- fail "dns.corefile, dns.existingConfigMap and dns.metrics need dns.enabled: turn DNS on there instead of in pointsmanConfig or extraArgs" -}}
  {{- end -}}
{{- end -}}
{{- end }}

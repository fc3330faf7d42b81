{{/* What both containers of the agent share. */}}

{{- define "pointsman.arguments" -}}
{{- $file := ternary "/var/lib/kube-proxy/config.conf" "/etc/pointsman/config.conf" (not (not .Values.existingConfigMap)) -}}
{{- concat (list "run" (printf "--config=%s" $file) "--hostname-override=$(NODE_NAME)" (printf "-v=%d" (int .Values.verbosity)) (printf "--logging-format=%s" .Values.loggingFormat)) (include "pointsman.dns-arguments" . | fromJsonArray) .Values.extraArgs | toJson -}}
{{- end }}

{{- define "pointsman.environment" -}}
{{- $api := include "pointsman.api" . | fromJson -}}
- name: NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
{{- with $api.host }}
- name: KUBERNETES_SERVICE_HOST
  value: {{ . | quote }}
- name: KUBERNETES_SERVICE_PORT
  value: {{ $api.port | quote }}
{{- end }}
{{- end }}

{{/* File by file: kubelet leaves those as they are until the container starts again, so that a change reaches nodes by the roll-out. */}}
{{- define "pointsman.config-mount" -}}
{{- if .Values.existingConfigMap -}}
- {name: config, mountPath: /var/lib/kube-proxy/config.conf, subPath: config.conf, readOnly: true}
- {name: config, mountPath: /var/lib/kube-proxy/kubeconfig.conf, subPath: kubeconfig.conf, readOnly: true}
{{- else -}}
- {name: config, mountPath: /etc/pointsman/config.conf, subPath: config.conf, readOnly: true}
{{- end -}}
{{- if include "pointsman.dns-map" . }}
- {name: corefile, mountPath: /etc/coredns, readOnly: true}
{{- end -}}
{{- end }}

{{/* Port 53 is below 1024, and user 0 has no power of its own here. */}}
{{- define "pointsman.capabilities" -}}
{{- ternary (append .Values.capabilities "NET_BIND_SERVICE" | uniq) .Values.capabilities (eq (include "pointsman.dns-on" .) "true") | toJson -}}
{{- end }}

{{/* A question of kubelet, of the context and a path: at the Pod's address, unless the server listens at another one only. */}}
{{- define "pointsman.probe" -}}
{{- $asked := dict "path" (index . 1) "port" "health" -}}
{{- $host := include "pointsman.host" ((include "pointsman.in-use" (index . 0) | fromJson).healthzBindAddress | default "") -}}
{{- if not (has $host (list "" "0.0.0.0" "::")) -}}{{- $_ := set $asked "host" $host -}}{{- end -}}
{{- $asked | toJson -}}
{{- end }}

{{/* What names the configuration in use, so that another one rolls the Pods; empty where helm does not know it. */}}
{{- define "pointsman.fingerprint" -}}
{{- if not .Values.existingConfigMap -}}{{- include "pointsman.config" . | sha256sum | trunc 16 -}}
{{- else -}}
  {{- $data := include "pointsman.existing" . | fromJson -}}
  {{- if $data -}}{{- $data | toJson | sha256sum | trunc 16 -}}{{- end -}}
{{- end -}}
{{- end }}

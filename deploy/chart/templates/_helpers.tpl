{{- define "strata.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "strata.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := include "strata.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "strata.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{/* ClusterRoles have no namespace: two releases of one name need two. */}}
{{- define "strata.clusterName" -}}
{{- $fullname := include "strata.fullname" . }}
{{- $namespace := include "strata.namespace" . }}
{{- if eq $fullname $namespace }}
{{- $fullname }}
{{- else }}
{{- printf "%s-%s" $namespace $fullname }}
{{- end }}
{{- end }}

{{- define "strata.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "strata.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "strata.selectorLabels" -}}
app.kubernetes.io/name: {{ include "strata.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: agent
{{- end }}

{{- define "strata.labels" -}}
{{ include "strata.selectorLabels" . }}
app.kubernetes.io/part-of: strata
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "strata.peersName" -}}
{{- printf "%s-peers" (include "strata.fullname" . | trunc 57 | trimSuffix "-") }}
{{- end }}

{{- define "strata.peersAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- include "strata.peersName" . }}
{{- else }}
{{- default "default" .Values.peers.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "strata.peersSelectorLabels" -}}
app.kubernetes.io/name: {{ include "strata.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: peers
{{- end }}

{{- define "strata.peersLabels" -}}
{{ include "strata.peersSelectorLabels" . }}
app.kubernetes.io/part-of: strata
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "strata.image" -}}
{{- $image := .Values.image.repository }}
{{- with .Values.image.registry }}{{ $image = printf "%s/%s" . $image }}{{ end }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $image .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $image (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* The port of `config.listen`, so that it is said once. */}}
{{- define "strata.port" -}}
{{- regexFind "[0-9]+$" .Values.config.listen }}
{{- end }}

{{/* The container's security context: what is empty is left out, what is extra is added. */}}
{{- define "strata.securityContext" -}}
{{- $context := deepCopy .Values.securityContext }}
{{- range $key := list "appArmorProfile" "seLinuxOptions" }}
{{- if not (get $context $key) }}{{ $_ := unset $context $key }}{{ end }}
{{- end }}
{{- with .Values.extraCapabilities }}
{{- $capabilities := default dict $context.capabilities }}
{{- $_ := set $capabilities "add" (concat (default list $capabilities.add) . | uniq) }}
{{- $_ := set $context "capabilities" $capabilities }}
{{- end }}
{{- toYaml $context }}
{{- end }}

{{/* To Helm, which reads YAML 1.1, the key `off` is the boolean false. The kill switch has to work however it is written. */}}
{{- define "strata.config" -}}
{{- $config := deepCopy .Values.config }}
{{- if hasKey $config "false" }}
{{- $_ := set $config "off" (get $config "false") }}
{{- $_ := unset $config "false" }}
{{- end }}
{{- if .Values.peers.enabled }}
{{- $peers := printf "http://%s.%s.svc:9465" (include "strata.peersName" .) (include "strata.namespace" .) }}
{{- $_ := set $config "network" (merge (default dict $config.network) (dict "peers" $peers)) }}
{{- end }}
{{- toYaml $config }}
{{- end }}

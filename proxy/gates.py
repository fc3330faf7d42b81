"""kube-proxy's feature gates: their names, and which of them say something about what this program does.

A command line or file that worked for kube-proxy must work here, so every name that kube-proxy 1.36 knows is taken, and so are those of
the releases around it that concern Services; an unknown one is an error, as there (CFG-12). `metrics_server` asks for two of them. No
other changes anything: what the gates below once switched is always on here. Whoever asks for something else is told so once.
"""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Final

_LIST: Final = """
APIResponseCompression APIServerIdentity APIServerTracing APIServingWithRoutine AggregatedDiscoveryRemoveBetaType AllAlpha AllBeta
AllowDNSOnlyNodeCSR AllowInsecureKubeletCertificateSigningRequests AllowOverwriteTerminationGracePeriodSeconds
AllowParsingUserUIDFromCertAuth AllowServiceExternalIPs AllowUnsafeMalformedObjectDeletion AnonymousAuthConfigurableEndpoints
AnyVolumeDataSource AtomicFIFO AuthorizeNodeWithSelectors AuthorizePodWebsocketUpgradeCreatePermission AuthorizeWithSelectors
BtreeWatchCache CBORServingAndStorage CPUManagerPolicyAlphaOptions CPUManagerPolicyBetaOptions CPUManagerPolicyOptions
CRDObservedGenerationTracking CRDValidationRatcheting CRIListStreaming CSIServiceAccountTokenSecrets CSIVolumeHealth
ChangeContainerStatusOnKubeletRestart ClearingNominatedNodeNameAfterBinding ClientsAllowCARotation ClientsAllowCBOR ClientsAllowTLSCacheGC
ClientsPreferCBOR CloudControllerManagerWatchBasedRoutesReconciliation CloudControllerManagerWebhook ClusterTrustBundle
ClusterTrustBundleProjection ComponentFlagz ComponentStatusz ConcurrentWatchObjectDecode ConsistentListFromCache ConstrainedImpersonation
ContainerCheckpoint ContainerRestartRules ContainerStopSignals ContextualLogging ControllerManagerReleaseLeaderElectionLockOnExit
CoordinatedLeaderElection CrossNamespaceVolumeDataSource CustomCPUCFSQuotaPeriod CustomResourceFieldSelectors DRAAdminAccess
DRAConsumableCapacity DRADeviceBindingConditions DRADeviceTaintRules DRADeviceTaints DRAExtendedResource DRAListTypeAttributes
DRANodeAllocatableResources DRAPartitionableDevices DRAPrioritizedList DRAResourceClaimDeviceStatus
DRAResourceClaimGranularStatusAuthorization DRAResourcePoolStatus DRASchedulerFilterTimeout DRAWorkloadResourceClaims
DeclarativeValidation DeclarativeValidationBeta DeclarativeValidationTakeover DeploymentReplicaSetTerminatingReplicas
DetectCacheInconsistency DisableAllocatorDualWrite DisableCPUQuotaWithExclusiveCPUs DisableNodeKubeProxyVersion DynamicResourceAllocation
EnvFiles EventedPLEG ExecProbeTimeout ExtendWebSocketsToKubelet ExternalServiceAccountTokenSigner GangScheduling GenericWorkload
GitRepoVolumeDriver GracefulNodeShutdown GracefulNodeShutdownBasedOnPodPriority HPAConfigurableTolerance HPAScaleToZero HostnameOverride
IPTablesOwnershipCleanup ImageMaximumGCAge ImageVolume ImageVolumeWithDigest InOrderInformers InOrderInformersBatchProcess
InPlacePodLevelResourcesVerticalScaling InPlacePodVerticalScaling InPlacePodVerticalScalingExclusiveCPUs
InPlacePodVerticalScalingExclusiveMemory InPlacePodVerticalScalingInitContainers InformerResourceVersion JobBackoffLimitPerIndex
JobManagedBy JobPodReplacementPolicy JobSuccessPolicy KMSv1 KubeProxyDrainingTerminatingNodes KubeProxyIPVS
KubeProxyNFTablesLocalhostNodePorts KubeletCgroupDriverFromCRI KubeletCrashLoopBackOffMax KubeletEnsureSecretPulledImages
KubeletFineGrainedAuthz KubeletInUserNamespace KubeletPSI KubeletPodResourcesDynamicResources KubeletPodResourcesGet
KubeletPodResourcesListUseActivePods KubeletRegistrationGetOnExistsOnly KubeletSeparateDiskGC
KubeletServiceAccountTokenForCredentialProviders KubeletTracing ListFromCacheSnapshot LoadBalancerIPMode
LocalStorageCapacityIsolationFSQuotaMonitoring LogarithmicScaleDown LoggingAlphaOptions LoggingBetaOptions LoggingStableOptions
ManifestBasedAdmissionControlConfig MatchLabelKeysInPodAffinity MatchLabelKeysInPodTopologySpread
MatchLabelKeysInPodTopologySpreadSelectorMerge MaxUnavailableStatefulSet MemoryQoS MinimizeIPTablesRestore MultiCIDRServiceAllocator
MutableCSINodeAllocatableCount MutablePVNodeAffinity MutablePodResourcesForSuspendedJobs MutableSchedulingDirectivesForSuspendedJobs
MutatingAdmissionPolicy NFTablesNetlink NFTablesProxyMode NativeHistograms NodeDeclaredFeatures NodeInclusionPolicyInPodTopologySpread
NodeLogQuery NodeSwap NominatedNodeNameForExpectation OpenAPIEnums OpportunisticBatching OrderedNamespaceDeletion PLEGOnDemandRelist
PersistentVolumeClaimUnusedSinceTime PodAndContainerStatsFromCRI PodCertificateRequest PodDeletionCost PodLevelResourceManagers
PodLevelResources PodLifecycleSleepAction PodLifecycleSleepActionAllowZero PodLogsQuerySplitStreams PodObservedGenerationTracking
PodReadyToStartContainersCondition PodSchedulingReadiness PodTopologyLabelsAdmission PodsAPI PortForwardWebsockets
PreferSameTrafficDistribution PreventStaticPodAPIReferences ProcMountType ProxyTerminatingEndpoints QOSReserved
RecoverVolumeExpansionFailure RecursiveReadOnlyMounts ReduceDefaultCrashLoopBackOffDecay RelaxedDNSSearchValidation
RelaxedEnvironmentVariableValidation RelaxedServiceNameValidation ReloadKubeletClientCAFile ReloadKubeletServerCertificateFile
RemoteRequestHeaderUID ResilientWatchCacheInitialization ResourceHealthStatus ResourceHealthStatusMessage
RestartAllContainersOnContainerExits RetryGenerateName RotateKubeletServerCertificate RuntimeClassInImageCriApi SELinuxChangePolicy
SELinuxMount SELinuxMountReadWriteOncePod SchedulerAsyncAPICalls SchedulerAsyncPreemption SchedulerPopFromBackoffQ SchedulerQueueingHints
SeparateCacheWatchRPC SeparateTaintEvictionController ServiceAccountNodeAudienceRestriction ServiceAccountTokenJTI
ServiceAccountTokenNodeBinding ServiceAccountTokenNodeBindingValidation ServiceAccountTokenPodNodeInfo ServiceCIDRStatusFieldWiping
ServiceInternalTrafficPolicy ServiceTrafficDistribution ShardedListAndWatch SidecarContainers SizeBasedListCostEstimate
StaleControllerConsistencyDaemonSet StaleControllerConsistencyJob StaleControllerConsistencyReplicaSet
StaleControllerConsistencyStatefulSet StatefulSetSemanticRevisionComparison StorageCapacityScoring StorageNamespaceIndex StorageVersionAPI
StorageVersionHash StorageVersionMigrator StreamingCollectionEncodingToJSON StreamingCollectionEncodingToProtobuf StrictIPCIDRValidation
StructuredAuthenticationConfiguration StructuredAuthenticationConfigurationEgressSelector StructuredAuthenticationConfigurationJWKSMetrics
SupplementalGroupsPolicy TaintTolerationComparisonOperators TokenRequestServiceAccountUIDValidation TopologyAwareHints
TopologyAwareWorkloadScheduling TopologyManagerPolicyAlphaOptions TopologyManagerPolicyBetaOptions TopologyManagerPolicyOptions
TranslateStreamCloseWebsocketRequests UnauthenticatedHTTP2DOSMitigation UnknownVersionInteroperabilityProxy UnlockWhileProcessingFIFO
UserNamespacesHostNetworkSupport UserNamespacesSupport VolumeAttributesClass VolumeLimitScaling WatchCacheInitializationPostStartHook
WatchList WatchListClient WinDSR WinOverlay WindowsCPUAndMemoryAffinity WindowsGracefulNodeShutdown WindowsHostNetwork
WorkloadAwarePreemption WorkloadWithJob
"""

NAMES: Final = frozenset(_LIST.split())
"""Names that are taken."""

SETTLED: Final = {
    "IPTablesOwnershipCleanup": "kubelet's chains are never touched",
    "KubeProxyDrainingTerminatingNodes": "a node under deletion always fails /healthz",
    "LoadBalancerIPMode": "ipMode is always honoured",
    "MinimizeIPTablesRestore": "only what differs is ever written",
    "MultiCIDRServiceAllocator": "ServiceCIDRs are always read",
    "NFTablesProxyMode": "the mode is chosen by its name alone",
    "PreferSameTrafficDistribution": "node and zone hints are always honoured",
    "ProxyTerminatingEndpoints": "terminating endpoints always serve as the last resort",
    "ServiceInternalTrafficPolicy": "internalTrafficPolicy is always honoured",
    "ServiceTrafficDistribution": "hints are always honoured",
    "TopologyAwareHints": "hints are always honoured",
}
"""What holds here whatever is asked for, by the gate that is on where it holds."""


def unknown(gates: Iterable[tuple[str, bool]]) -> Iterator[str]:
    """Yield a sentence for each name that no kube-proxy knows."""
    for name, _ in gates:
        if name not in NAMES:
            close = get_close_matches(name, NAMES, n=1, cutoff=0.8)
            yield f"no feature gate is named {name!r}" + (f"; did you mean {close[0]}?" if close else "")


def without_effect(gates: Iterable[tuple[str, bool]]) -> Iterator[str]:
    """Yield a sentence for each gate that asks for something else than what happens here."""
    for name, wanted in gates:
        if name in SETTLED and not wanted:
            yield f"{name}=false has no effect: {SETTLED[name]}"

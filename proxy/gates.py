"""kube-proxy's feature gates: their names, and which of them say something about what this program does.

A command line or file that worked for kube-proxy must work here, so every name that kube-proxy 1.33 to 1.36 knows is taken, and so are
those of 1.37 that concern Services; an unknown one is an error, as there (CFG-12). `metrics_server` asks for two of them. No
other changes anything: what the gates below once switched is always on here. Whoever asks for something else is told so once.
"""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Final

_LIST: Final = """
APIResponseCompression APIServerIdentity APIServerTracing APIServingWithRoutine AggregatedDiscoveryRemoveBetaType AllAlpha AllBeta
AllowDNSOnlyNodeCSR AllowInsecureKubeletCertificateSigningRequests AllowOverwriteTerminationGracePeriodSeconds
AllowParsingUserUIDFromCertAuth AllowServiceExternalIPs AllowServiceLBStatusOnNonLB AllowUnsafeMalformedObjectDeletion
AnonymousAuthConfigurableEndpoints AnyVolumeDataSource AtomicFIFO AuthorizeNodeWithSelectors AuthorizePodWebsocketUpgradeCreatePermission
AuthorizeWithSelectors BtreeWatchCache CBORServingAndStorage CPUManagerPolicyAlphaOptions CPUManagerPolicyBetaOptions
CPUManagerPolicyOptions CRDObservedGenerationTracking CRDValidationRatcheting CRIListStreaming CSIMigrationPortworx
CSIServiceAccountTokenSecrets CSIVolumeHealth ChangeContainerStatusOnKubeletRestart ClearingNominatedNodeNameAfterBinding
ClientsAllowCARotation ClientsAllowCBOR ClientsAllowTLSCacheGC ClientsPreferCBOR CloudControllerManagerWatchBasedRoutesReconciliation
CloudControllerManagerWebhook ClusterTrustBundle ClusterTrustBundleProjection ComponentFlagz ComponentSLIs ComponentStatusz
ConcurrentWatchObjectDecode ConsistentListFromCache ConstrainedImpersonation ContainerCheckpoint ContainerRestartRules
ContainerStopSignals ContextualLogging ControllerManagerReleaseLeaderElectionLockOnExit CoordinatedLeaderElection
CronJobsScheduledAnnotation CrossNamespaceVolumeDataSource CustomCPUCFSQuotaPeriod CustomResourceFieldSelectors DRAAdminAccess
DRAConsumableCapacity DRADeviceBindingConditions DRADeviceTaintRules DRADeviceTaints DRAExtendedResource DRAListTypeAttributes
DRANodeAllocatableResources DRAPartitionableDevices DRAPrioritizedList DRAResourceClaimDeviceStatus
DRAResourceClaimGranularStatusAuthorization DRAResourcePoolStatus DRASchedulerFilterTimeout DRAWorkloadResourceClaims
DeclarativeValidation DeclarativeValidationBeta DeclarativeValidationTakeover DeploymentReplicaSetTerminatingReplicas
DetectCacheInconsistency DevicePluginCDIDevices DisableAllocatorDualWrite DisableCPUQuotaWithExclusiveCPUs DisableNodeKubeProxyVersion
DynamicResourceAllocation ElasticIndexedJob EnvFiles EventedPLEG ExecProbeTimeout ExtendWebSocketsToKubelet
ExternalServiceAccountTokenSigner GangScheduling GenericWorkload GitRepoVolumeDriver GracefulNodeShutdown
GracefulNodeShutdownBasedOnPodPriority HPAConfigurableTolerance HPAScaleToZero HonorPVReclaimPolicy HostnameOverride
IPTablesOwnershipCleanup ImageMaximumGCAge ImageVolume ImageVolumeWithDigest InOrderInformers InOrderInformersBatchProcess
InPlacePodLevelResourcesVerticalScaling InPlacePodVerticalScaling InPlacePodVerticalScalingAllocatedStatus
InPlacePodVerticalScalingExclusiveCPUs InPlacePodVerticalScalingExclusiveMemory InPlacePodVerticalScalingInitContainers
InTreePluginPortworxUnregister InformerResourceVersion JobBackoffLimitPerIndex JobManagedBy JobPodReplacementPolicy JobSuccessPolicy KMSv1
KubeProxyDrainingTerminatingNodes KubeProxyIPVS KubeProxyNFTablesLocalhostNodePorts KubeletCgroupDriverFromCRI KubeletCrashLoopBackOffMax
KubeletEnsureSecretPulledImages KubeletFineGrainedAuthz KubeletInUserNamespace KubeletPSI KubeletPodResourcesDynamicResources
KubeletPodResourcesGet KubeletPodResourcesListUseActivePods KubeletRegistrationGetOnExistsOnly KubeletSeparateDiskGC
KubeletServiceAccountTokenForCredentialProviders KubeletTracing LegacySidecarContainers ListFromCacheSnapshot LoadBalancerIPMode
LocalStorageCapacityIsolationFSQuotaMonitoring LogarithmicScaleDown LoggingAlphaOptions LoggingBetaOptions LoggingStableOptions
ManifestBasedAdmissionControlConfig MatchLabelKeysInPodAffinity MatchLabelKeysInPodTopologySpread
MatchLabelKeysInPodTopologySpreadSelectorMerge MaxUnavailableStatefulSet MemoryManager MemoryQoS MinimizeIPTablesRestore
MultiCIDRServiceAllocator MutableCSINodeAllocatableCount MutablePVNodeAffinity MutablePodResourcesForSuspendedJobs
MutableSchedulingDirectivesForSuspendedJobs MutatingAdmissionPolicy NFTablesNetlink NFTablesProxyMode NativeHistograms
NodeDeclaredFeatures NodeInclusionPolicyInPodTopologySpread NodeLogQuery NodeSwap NominatedNodeNameForExpectation OpenAPIEnums
OpportunisticBatching OrderedNamespaceDeletion PLEGOnDemandRelist PersistentVolumeClaimUnusedSinceTime PodAndContainerStatsFromCRI
PodCertificateRequest PodDeletionCost PodDisruptionConditions PodIndexLabel PodLevelResourceManagers PodLevelResources
PodLifecycleSleepAction PodLifecycleSleepActionAllowZero PodLogsQuerySplitStreams PodObservedGenerationTracking
PodReadyToStartContainersCondition PodSchedulingReadiness PodTopologyLabelsAdmission PodsAPI PortForwardWebsockets
PreferSameTrafficDistribution PreventStaticPodAPIReferences ProbeHostPodSecurityStandards ProcMountType ProxyTerminatingEndpoints
QOSReserved RecoverVolumeExpansionFailure RecursiveReadOnlyMounts ReduceDefaultCrashLoopBackOffDecay RelaxedDNSSearchValidation
RelaxedEnvironmentVariableValidation RelaxedServiceNameValidation ReloadKubeletClientCAFile ReloadKubeletServerCertificateFile
RemoteRequestHeaderUID ResilientWatchCacheInitialization ResourceHealthStatus ResourceHealthStatusMessage
RestartAllContainersOnContainerExits RetryGenerateName RotateKubeletServerCertificate RuntimeClassInImageCriApi SELinuxChangePolicy
SELinuxMount SELinuxMountReadWriteOncePod SchedulerAsyncAPICalls SchedulerAsyncPreemption SchedulerPopFromBackoffQ SchedulerQueueingHints
SeparateCacheWatchRPC SeparateTaintEvictionController ServiceAccountNodeAudienceRestriction ServiceAccountTokenJTI
ServiceAccountTokenNodeBinding ServiceAccountTokenNodeBindingValidation ServiceAccountTokenPodNodeInfo ServiceCIDRStatusFieldWiping
ServiceInternalTrafficPolicy ServiceTrafficDistribution ShardedListAndWatch SidecarContainers SizeBasedListCostEstimate
SizeMemoryBackedVolumes StaleControllerConsistencyDaemonSet StaleControllerConsistencyJob StaleControllerConsistencyReplicaSet
StaleControllerConsistencyStatefulSet StatefulSetAutoDeletePVC StatefulSetSemanticRevisionComparison StatefulSetStartOrdinal
StorageCapacityScoring StorageNamespaceIndex StorageVersionAPI StorageVersionHash StorageVersionMigrator StreamingCollectionEncodingToJSON
StreamingCollectionEncodingToProtobuf StrictCostEnforcementForVAP StrictCostEnforcementForWebhooks StrictIPCIDRValidation
StructuredAuthenticationConfiguration StructuredAuthenticationConfigurationEgressSelector StructuredAuthenticationConfigurationJWKSMetrics
StructuredAuthorizationConfiguration SupplementalGroupsPolicy TaintTolerationComparisonOperators TokenRequestServiceAccountUIDValidation
TopologyAwareHints TopologyAwareWorkloadScheduling TopologyManagerPolicyAlphaOptions TopologyManagerPolicyBetaOptions
TopologyManagerPolicyOptions TranslateStreamCloseWebsocketRequests UnauthenticatedHTTP2DOSMitigation UnknownVersionInteroperabilityProxy
UnlockWhileProcessingFIFO UserNamespacesHostNetworkSupport UserNamespacesPodSecurityStandards UserNamespacesSupport VolumeAttributesClass
VolumeLimitScaling WatchCacheInitializationPostStartHook WatchFromStorageWithoutResourceVersion WatchList WatchListClient WinDSR
WinOverlay WindowsCPUAndMemoryAffinity WindowsGracefulNodeShutdown WindowsHostNetwork WorkloadAwarePreemption WorkloadWithJob
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


def served(gates: Iterable[tuple[str, bool]], name: str) -> bool:
    """Return whether a gate that is beta, and on unless somebody says otherwise, is on."""
    given = dict(gates)
    return given.get(name, given.get("AllBeta", True))


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

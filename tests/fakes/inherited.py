"""What kube-proxy's ipvs mode leaves in a namespace, but for the chains that it shares with its iptables mode; as shell commands."""

KUBE_PROXYS = """
ip link add kube-ipvs0 type dummy; ip addr add 10.96.0.1/32 dev kube-ipvs0; ip addr add 192.0.2.7/32 dev lo
ipvsadm -A -t 10.96.0.1:443 -s rr; ipvsadm -A -t 192.0.2.7:30080 -s rr; ipvsadm -A -u 192.0.2.7:30080 -s rr
ipset create KUBE-CLUSTER-IP hash:ip,port maxelem 65536; ipset add KUBE-CLUSTER-IP 10.96.0.1,tcp:443
ipset create KUBE-NODE-PORT-TCP bitmap:port range 0-65535; ipset add KUBE-NODE-PORT-TCP 30080
ipset create KUBE-6-NODE-PORT-LOCAL-SCTP-HAS hash:ip,port family inet6; ipset create KUBE-HEALTH-CHECK-NODE-PORT bitmap:port range 0-65535
iptables-legacy-restore <<END
*nat
:KUBE-NODE-PORT - [0:0]
:KUBE-LOAD-BALANCER - [0:0]
:KUBE-MARK-MASQ - [0:0]
-A KUBE-NODE-PORT -p tcp -m set --match-set KUBE-NODE-PORT-TCP dst -j KUBE-MARK-MASQ
-A KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ
COMMIT
*filter
:KUBE-NODE-PORT - [0:0]
:KUBE-SOURCE-RANGES-FIREWALL - [0:0]
:KUBE-IPVS-FILTER - [0:0]
:KUBE-IPVS-OUT-FILTER - [0:0]
-A INPUT -m comment --comment "kubernetes health check rules" -j KUBE-NODE-PORT
-A INPUT -j KUBE-IPVS-FILTER
-A OUTPUT -j KUBE-IPVS-OUT-FILTER
-A KUBE-NODE-PORT -m set --match-set KUBE-HEALTH-CHECK-NODE-PORT dst -j ACCEPT
-A KUBE-SOURCE-RANGES-FIREWALL -j DROP
COMMIT
END
"""

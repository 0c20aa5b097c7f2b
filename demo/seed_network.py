"""The demo account's networks: VPCs, security groups, addresses, load balancers, names."""

from __future__ import annotations

from typing import Any, NamedTuple

from demo.seeding import FRANKFURT, HOME, IRELAND, SINGAPORE, Account, tag_list

_ANYWHERE = "0.0.0.0/0"


class _Vpc(NamedTuple):
    name: str
    region: str
    owner: str
    prefix: str  # the first two numbers of its /16
    nat: bool = True
    flow_logs: bool = True


_VPCS = [
    _Vpc("acme-prod-us", HOME, "production/platform", "10.10"),
    _Vpc("acme-staging-us", HOME, "staging/platform", "10.20", nat=False, flow_logs=False),
    _Vpc("acme-prod-eu", IRELAND, "production/platform", "10.30"),
    _Vpc("acme-data-eu", FRANKFURT, "production/data", "10.40", nat=False, flow_logs=False),
    _Vpc("acme-prod-apac", SINGAPORE, "production/platform", "10.50", flow_logs=False),
]

_SUBNETS = [("public-a", "a", 0), ("public-b", "b", 1), ("private-a", "a", 10),
            ("private-b", "b", 11)]  # fmt: skip


class _Group(NamedTuple):
    """A security group; each rule is (protocol, from port, to port, source)."""

    name: str
    description: str
    rules: tuple[tuple[str, int, int, str], ...]
    vpcs: str = "acme-"  # in the VPCs whose names begin so


_GROUPS = [
    _Group("web-alb", "Public load balancers",
           (("tcp", 443, 443, _ANYWHERE), ("tcp", 80, 80, _ANYWHERE)), "acme-prod"),
    _Group("app", "Application servers", (("tcp", 8080, 8080, "10.0.0.0/8"),)),
    _Group("db-postgres", "PostgreSQL from the application", (("tcp", 5432, 5432, "10.0.0.0/8"),)),
    _Group("bastion", "Jump host, SSH", (("tcp", 22, 22, _ANYWHERE),), "acme-prod-us"),
    _Group("bastion", "Jump host, SSH from the office", (("tcp", 22, 22, "203.0.113.0/24"),),
           "acme-prod-eu"),
    _Group("windows-jump", "Warehouse terminals, RDP", (("tcp", 3389, 3389, _ANYWHERE),),
           "acme-prod-apac"),
    _Group("legacy-ftp", "Label printers", (("-1", -1, -1, _ANYWHERE),), "acme-prod-apac"),
    _Group("debug-temp", "TEMP remove after incident 4711", (("tcp", 0, 65535, _ANYWHERE),),
           "acme-staging"),
    _Group("redis-cache", "Redis", (("tcp", 6379, 6379, "10.0.0.0/8"),), "acme-prod"),
    _Group("analytics-mysql", "Reporting tool", (("tcp", 3306, 3306, _ANYWHERE),), "acme-data"),
    _Group("opensearch", "Search", (("tcp", 9200, 9300, _ANYWHERE),), "acme-data"),
]  # fmt: skip

_LOAD_BALANCERS = [  # name, region, VPC, type, scheme, listeners as (protocol, port)
    ("storefront-us", HOME, "acme-prod-us", "application", "internet-facing",
     (("HTTP", 80), ("HTTPS", 443))),
    ("checkout-us", HOME, "acme-prod-us", "application", "internet-facing", (("HTTPS", 443),)),
    ("admin-us", HOME, "acme-staging-us", "application", "internet-facing", (("HTTP", 80),)),
    ("storefront-eu", IRELAND, "acme-prod-eu", "application", "internet-facing",
     (("HTTPS", 443),)),
    ("kafka-eu", IRELAND, "acme-prod-eu", "network", "internal", (("TCP", 9092),)),
    ("storefront-apac", SINGAPORE, "acme-prod-apac", "application", "internet-facing",
     (("HTTP", 80),)),
]  # fmt: skip

_RECORDS = [
    ("www", "A", "198.51.100.10"),
    ("shop", "CNAME", "storefront-us.elb.amazonaws.com"),
    ("api", "CNAME", "checkout-us.elb.amazonaws.com"),
    ("old-campaign", "A", "54.210.99.17"),  # an address that is no longer ours
    ("mail", "MX", "10 mail.acme.example"),
]

_CERTIFICATES = [  # domain, region, when it was issued
    ("acme.example", HOME, (2025, 9, 1)),
    ("*.shop.acme.example", HOME, (2025, 10, 6)),
    ("eu.acme.example", IRELAND, (2025, 8, 18)),
    ("legacy.acme.example", IRELAND, (2023, 2, 6)),
    ("apac.acme.example", SINGAPORE, (2025, 9, 22)),
]


def seed(account: Account) -> None:
    """Networks first: instances, databases and load balancers stand in them."""
    account.at(2021, 1, 18)
    for region in (HOME, IRELAND, FRANKFURT, SINGAPORE):
        # The default network of a region appears at its first use: make that now, in this order.
        account.client("ec2", region).describe_vpcs()
    for vpc in _VPCS:
        _create_vpc(account, vpc)
    _peer(account)
    for region in (HOME, FRANKFURT):  # left over from instances long gone
        account.client("ec2", region).allocate_address(
            Domain="vpc", TagSpecifications=_tagged("elastic-ip", "staging/platform", "unused")
        )
    account.at(2024, 5, 13)
    arns = _certificates(account)
    _load_balancers(account, arns)
    _names(account)
    _edge(account, arns)


def vpc_id(account: Account, region: str, name: str) -> str:
    """The id of a VPC by its name."""
    found = account.client("ec2", region).describe_vpcs(
        Filters=[{"Name": "tag:Name", "Values": [name]}]
    )
    return str(found["Vpcs"][0]["VpcId"])


def subnet_ids(account: Account, region: str, vpc: str, kind: str) -> list[str]:
    """The ids of a VPC's subnets, `kind` being public or private."""
    found = account.client("ec2", region).describe_subnets(
        Filters=[{"Name": "tag:Name", "Values": [f"{vpc}-{kind}-a", f"{vpc}-{kind}-b"]}]
    )
    return [subnet["SubnetId"] for subnet in found["Subnets"]]


def group_id(account: Account, region: str, vpc: str, name: str) -> str:
    """The id of a security group by its VPC's name and its own."""
    found = account.client("ec2", region).describe_security_groups(
        Filters=[
            {"Name": "group-name", "Values": [name]},
            {"Name": "vpc-id", "Values": [vpc_id(account, region, vpc)]},
        ]
    )
    return str(found["SecurityGroups"][0]["GroupId"])


def _tagged(kind: str, owner: str, name: str) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": tag_list(owner, Name=name)}]


def _create_vpc(account: Account, vpc: _Vpc) -> None:
    ec2 = account.client("ec2", vpc.region)
    made = ec2.create_vpc(
        CidrBlock=f"{vpc.prefix}.0.0/16", TagSpecifications=_tagged("vpc", vpc.owner, vpc.name)
    )
    identity = made["Vpc"]["VpcId"]
    gateway = ec2.create_internet_gateway(
        TagSpecifications=_tagged("internet-gateway", vpc.owner, vpc.name)
    )["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=identity)
    table = _route_table(ec2, vpc, identity, "public")
    ec2.create_route(RouteTableId=table, DestinationCidrBlock=_ANYWHERE, GatewayId=gateway)
    private = _route_table(ec2, vpc, identity, "private")
    for name, zone, third in _SUBNETS:
        subnet = ec2.create_subnet(
            VpcId=identity,
            CidrBlock=f"{vpc.prefix}.{third}.0/24",
            AvailabilityZone=vpc.region + zone,
            TagSpecifications=_tagged("subnet", vpc.owner, f"{vpc.name}-{name}"),
        )["Subnet"]["SubnetId"]
        is_public = name.startswith("public")
        ec2.associate_route_table(RouteTableId=table if is_public else private, SubnetId=subnet)
        if is_public:
            ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={"Value": True})
        if vpc.nat and name == "public-a":
            _nat(ec2, vpc, subnet, private)
    ec2.create_vpc_endpoint(
        VpcId=identity,
        ServiceName=f"com.amazonaws.{vpc.region}.s3",
        VpcEndpointType="Gateway",
        RouteTableIds=[private],
        TagSpecifications=_tagged("vpc-endpoint", vpc.owner, f"{vpc.name}-s3"),
    )
    if vpc.flow_logs:
        _flow_logs(account, vpc, identity)
    for group in _GROUPS:
        if vpc.name.startswith(group.vpcs):
            _create_group(ec2, vpc, identity, group)


def _route_table(ec2: Any, vpc: _Vpc, identity: str, kind: str) -> str:
    made = ec2.create_route_table(
        VpcId=identity,
        TagSpecifications=_tagged("route-table", vpc.owner, f"{vpc.name}-{kind}"),
    )
    return str(made["RouteTable"]["RouteTableId"])


def _nat(ec2: Any, vpc: _Vpc, subnet: str, table: str) -> None:
    address = ec2.allocate_address(
        Domain="vpc", TagSpecifications=_tagged("elastic-ip", vpc.owner, f"{vpc.name}-nat")
    )["AllocationId"]
    gateway = ec2.create_nat_gateway(
        SubnetId=subnet,
        AllocationId=address,
        TagSpecifications=_tagged("natgateway", vpc.owner, vpc.name),
    )["NatGateway"]["NatGatewayId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock=_ANYWHERE, NatGatewayId=gateway)


def _flow_logs(account: Account, vpc: _Vpc, identity: str) -> None:
    group = f"/vpc/{vpc.name}/flow"
    account.client("logs", vpc.region).create_log_group(logGroupName=group)
    account.client("ec2", vpc.region).create_flow_logs(
        ResourceIds=[identity],
        ResourceType="VPC",
        TrafficType="REJECT",
        LogDestinationType="cloud-watch-logs",
        LogGroupName=group,
        DeliverLogsPermissionArn=f"arn:aws:iam::{account.uid}:role/flow-logs",
        TagSpecifications=_tagged("vpc-flow-log", vpc.owner, vpc.name),
    )


def _create_group(ec2: Any, vpc: _Vpc, identity: str, group: _Group) -> None:
    made = ec2.create_security_group(
        GroupName=group.name,
        Description=group.description,
        VpcId=identity,
        TagSpecifications=_tagged("security-group", vpc.owner, group.name),
    )
    for protocol, low, high, source in group.rules:
        ports = {} if protocol == "-1" else {"FromPort": low, "ToPort": high}
        ec2.authorize_security_group_ingress(
            GroupId=made["GroupId"],
            IpPermissions=[{"IpProtocol": protocol, "IpRanges": [{"CidrIp": source}], **ports}],
        )


def _peer(account: Account) -> None:
    ec2 = account.client("ec2", HOME)
    prod, staging = (vpc_id(account, HOME, n) for n in ("acme-prod-us", "acme-staging-us"))
    made = ec2.create_vpc_peering_connection(
        VpcId=prod,
        PeerVpcId=staging,
        TagSpecifications=_tagged("vpc-peering-connection", "staging/platform", "prod-staging"),
    )
    identity = made["VpcPeeringConnection"]["VpcPeeringConnectionId"]
    ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=identity)


def _certificates(account: Account) -> dict[str, str]:
    """Certificates by region; load balancers take the first one there."""
    arns: dict[str, str] = {}
    for domain, region, issued in _CERTIFICATES:
        account.at(*issued)
        made = account.client("acm", region).request_certificate(
            DomainName=domain,
            ValidationMethod="DNS",
            Tags=tag_list("production/storefront"),
        )
        arns.setdefault(region, made["CertificateArn"])
    return arns


def _load_balancers(account: Account, certificates: dict[str, str]) -> None:
    for name, region, vpc, kind, scheme, listeners in _LOAD_BALANCERS:
        elb = account.client("elbv2", region)
        owner = "staging/storefront" if "staging" in vpc else "production/storefront"
        is_public = scheme == "internet-facing"
        where = "public" if is_public else "private"
        groups = {"SecurityGroups": [group_id(account, region, vpc, "app")]}
        balancer = elb.create_load_balancer(
            Name=name,
            Type=kind,
            Scheme=scheme,
            Subnets=subnet_ids(account, region, vpc, where),
            Tags=tag_list(owner),
            **(groups if kind == "application" else {}),
        )["LoadBalancers"][0]["LoadBalancerArn"]
        target = elb.create_target_group(
            Name=name,
            Protocol="HTTP" if kind == "application" else "TCP",
            Port=8080,
            VpcId=vpc_id(account, region, vpc),
            Tags=tag_list(owner),
        )["TargetGroups"][0]["TargetGroupArn"]
        for protocol, port in listeners:
            encrypted = {
                "Certificates": [{"CertificateArn": certificates[region]}],
                "SslPolicy": "ELBSecurityPolicy-2016-08",
            }
            elb.create_listener(
                LoadBalancerArn=balancer,
                Protocol=protocol,
                Port=port,
                DefaultActions=[{"Type": "forward", "TargetGroupArn": target}],
                **(encrypted if protocol == "HTTPS" else {}),
            )
    account.client("elb", HOME).create_load_balancer(
        LoadBalancerName="intranet-classic",
        Listeners=[
            {
                "Protocol": "HTTP",
                "LoadBalancerPort": 80,
                "InstanceProtocol": "HTTP",
                "InstancePort": 8080,
            }
        ],
        Subnets=subnet_ids(account, HOME, "acme-prod-us", "public"),
        Tags=tag_list("production/platform"),
    )


def _names(account: Account) -> None:
    route53 = account.client("route53")
    public = route53.create_hosted_zone(Name="acme.example", CallerReference="acme.example")
    route53.create_hosted_zone(
        Name="internal.acme.example",
        CallerReference="internal",
        HostedZoneConfig={"PrivateZone": True, "Comment": "inside"},
        VPC={"VPCRegion": HOME, "VPCId": vpc_id(account, HOME, "acme-prod-us")},
    )
    route53.change_resource_record_sets(
        HostedZoneId=public["HostedZone"]["Id"],
        ChangeBatch={
            "Changes": [
                {
                    "Action": "CREATE",
                    "ResourceRecordSet": {
                        "Name": f"{name}.acme.example",
                        "Type": kind,
                        "TTL": 300,
                        "ResourceRecords": [{"Value": value}],
                    },
                }
                for name, kind, value in _RECORDS
            ]
        },
    )


def _edge(account: Account, certificates: dict[str, str]) -> None:
    cloudfront = account.client("cloudfront")
    for name, viewers, bucket in (
        ("website", "redirect-to-https", "acme-website"),
        ("assets", "allow-all", "acme-website-assets"),
    ):
        cloudfront.create_distribution(
            DistributionConfig={
                "CallerReference": name,
                "Comment": name,
                "Enabled": True,
                "Origins": {
                    "Quantity": 1,
                    "Items": [
                        {
                            "Id": name,
                            "DomainName": f"{bucket}.s3.amazonaws.com",
                            "S3OriginConfig": {"OriginAccessIdentity": ""},
                        }
                    ],
                },
                "DefaultCacheBehavior": {
                    "TargetOriginId": name,
                    "ViewerProtocolPolicy": viewers,
                    "MinTTL": 0,
                    "ForwardedValues": {"QueryString": False, "Cookies": {"Forward": "none"}},
                },
            }
        )
    account.client("wafv2", HOME).create_web_acl(
        Name="storefront",
        Scope="REGIONAL",
        DefaultAction={"Allow": {}},
        VisibilityConfig={
            "SampledRequestsEnabled": True,
            "CloudWatchMetricsEnabled": False,
            "MetricName": "storefront",
        },
        Tags=tag_list("production/security"),
    )

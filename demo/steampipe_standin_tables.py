"""Every AWS table of the stand-in, filled by the calls that Steampipe's own plugin makes."""

from __future__ import annotations

from demo.steampipe_standin_sources import (
    Source,
    access_keys,
    balancers,
    buckets,
    classic_balancers,
    each,
    ec2,
    ecs_services,
    hubs,
    kms_keys,
    listing,
    tagged,
    zones,
)

_BALANCER = (
    "arn=LoadBalancerArn type=Type scheme=Scheme state_code=State.Code dns_name=DNSName "
    "vpc_id=VpcId name=LoadBalancerName"
)
_IAM_DATES = "path=Path create_date=CreateDate"

SOURCES = [
    Source("aws_account", "sts", listing("get_caller_identity", "[@]"),
           "arn:aws:::{Account}", "arn=Arn account_aliases=Aliases", "Account", is_global=True),
    # ---- compute ----
    ec2("aws_ec2_instance", "describe_instances", "Reservations[].Instances[]", "instance",
        "InstanceId",
        "arn=@aka instance_id=InstanceId instance_type=InstanceType instance_state=State.Name "
        "public_ip_address=PublicIpAddress private_ip_address=PrivateIpAddress vpc_id=VpcId "
        "subnet_id=SubnetId image_id=ImageId launch_time=LaunchTime"),
    ec2("aws_ebs_volume", "describe_volumes", "Volumes", "volume", "VolumeId",
        "arn=@aka volume_id=VolumeId volume_type=VolumeType state=State size=Size "
        "encrypted=Encrypted availability_zone=AvailabilityZone"),
    Source("aws_ebs_snapshot", "ec2", listing("describe_snapshots", "Snapshots",
           OwnerIds=["self"]), "arn:aws:ec2:{region}:{account}:snapshot/{SnapshotId}",
           "arn=@aka snapshot_id=SnapshotId volume_id=VolumeId volume_size=VolumeSize "
           "state=State encrypted=Encrypted start_time=StartTime", "SnapshotId"),
    Source("aws_ec2_ami", "ec2", listing("describe_images", "Images", Owners=["self"]),
           "arn:aws:ec2:{region}:{account}:image/{ImageId}",
           "image_id=ImageId name=Name state=State public=Public creation_date=CreationDate",
           "Name||ImageId"),
    Source("aws_ec2_autoscaling_group", "autoscaling",
           listing("describe_auto_scaling_groups", "AutoScalingGroups"),
           "AutoScalingGroupARN", "autoscaling_group_arn=AutoScalingGroupARN "
           "name=AutoScalingGroupName min_size=MinSize max_size=MaxSize "
           "desired_capacity=DesiredCapacity", "AutoScalingGroupName"),
    Source("aws_ec2_launch_template", "ec2",
           listing("describe_launch_templates", "LaunchTemplates"),
           "arn:aws:ec2:{region}:{account}:launch-template/{LaunchTemplateId}",
           "launch_template_id=LaunchTemplateId latest_version_number=LatestVersionNumber",
           "LaunchTemplateName"),
    Source("aws_lambda_function", "lambda",
           each(listing("list_functions", "Functions"), "get_function", "FunctionName",
                "FunctionName", "{Tags:Tags}"),
           "FunctionArn", "arn=FunctionArn name=FunctionName runtime=Runtime "
           "package_type=PackageType memory_size=MemorySize timeout=Timeout "
           "last_modified=LastModified", "FunctionName"),
    Source("aws_ecs_cluster", "ecs",
           each(listing("list_clusters", "clusterArns"), "describe_clusters", "clusters", "[Id]",
                "clusters[0]", include=["TAGS"]),
           "clusterArn", "cluster_arn=clusterArn cluster_name=clusterName status=status "
           "running_tasks_count=runningTasksCount", "clusterName", "tags"),
    Source("aws_ecs_service", "ecs", ecs_services, "serviceArn",
           "arn=serviceArn service_name=serviceName status=status launch_type=launchType "
           "desired_count=desiredCount cluster_arn=clusterArn", "serviceName", "tags"),
    Source("aws_eks_cluster", "eks",
           each(listing("list_clusters", "clusters"), "describe_cluster", "name", "Id", "cluster"),
           "arn", "arn=arn name=name version=version status=status", "name", "tags"),
    Source("aws_ecr_repository", "ecr",
           tagged(listing("describe_repositories", "repositories"), "list_tags_for_resource",
                  "resourceArn", "repositoryArn", "tags"),
           "repositoryArn", "arn=repositoryArn repository_name=repositoryName "
           "image_tag_mutability=imageTagMutability created_at=createdAt", "repositoryName"),
    # ---- storage ----
    Source("aws_s3_bucket", "s3", buckets, "arn:aws:s3:::{Name}",
           "arn=@aka name=Name creation_date=CreationDate region=region", is_global=True),
    Source("aws_efs_file_system", "efs", listing("describe_file_systems", "FileSystems"),
           "FileSystemArn", "arn=FileSystemArn name=Name file_system_id=FileSystemId "
           "encrypted=Encrypted life_cycle_state=LifeCycleState "
           "performance_mode=PerformanceMode", "Name||FileSystemId"),
    Source("aws_backup_vault", "backup",
           tagged(listing("list_backup_vaults", "BackupVaultList"), "list_tags", "ResourceArn",
                  "BackupVaultArn"),
           "BackupVaultArn", "arn=BackupVaultArn name=BackupVaultName "
           "number_of_recovery_points=NumberOfRecoveryPoints", "BackupVaultName"),
    Source("aws_backup_plan", "backup",
           tagged(listing("list_backup_plans", "BackupPlansList"), "list_tags", "ResourceArn",
                  "BackupPlanArn"),
           "BackupPlanArn", "arn=BackupPlanArn name=BackupPlanName "
           "backup_plan_id=BackupPlanId", "BackupPlanName"),
    Source("aws_glacier_vault", "glacier", listing("list_vaults", "VaultList"),
           "VaultARN", "vault_arn=VaultARN vault_name=VaultName "
           "number_of_archives=NumberOfArchives size_in_bytes=SizeInBytes", "VaultName"),
    # ---- network ----
    ec2("aws_vpc", "describe_vpcs", "Vpcs", "vpc", "VpcId",
        "arn=@aka vpc_id=VpcId cidr_block=CidrBlock state=State is_default=IsDefault"),
    ec2("aws_vpc_subnet", "describe_subnets", "Subnets", "subnet", "SubnetId",
        "subnet_arn=SubnetArn subnet_id=SubnetId vpc_id=VpcId cidr_block=CidrBlock "
        "availability_zone=AvailabilityZone map_public_ip_on_launch=MapPublicIpOnLaunch"),
    Source("aws_vpc_security_group", "ec2",
           listing("describe_security_groups", "SecurityGroups"),
           "arn:aws:ec2:{region}:{account}:security-group/{GroupId}",
           "arn=@aka group_id=GroupId group_name=GroupName vpc_id=VpcId "
           "description=Description", "GroupName"),
    ec2("aws_vpc_internet_gateway", "describe_internet_gateways", "InternetGateways",
        "internet-gateway", "InternetGatewayId", "internet_gateway_id=InternetGatewayId"),
    ec2("aws_vpc_nat_gateway", "describe_nat_gateways", "NatGateways", "natgateway",
        "NatGatewayId", "arn=@aka nat_gateway_id=NatGatewayId vpc_id=VpcId subnet_id=SubnetId "
        "state=State"),
    ec2("aws_vpc_route_table", "describe_route_tables", "RouteTables", "route-table",
        "RouteTableId", "route_table_id=RouteTableId vpc_id=VpcId"),
    ec2("aws_vpc_network_acl", "describe_network_acls", "NetworkAcls", "network-acl",
        "NetworkAclId", "network_acl_id=NetworkAclId vpc_id=VpcId is_default=IsDefault"),
    ec2("aws_vpc_eip", "describe_addresses", "Addresses", "eip", "AllocationId",
        "arn=@aka allocation_id=AllocationId public_ip=PublicIp instance_id=InstanceId "
        "association_id=AssociationId"),
    ec2("aws_vpc_endpoint", "describe_vpc_endpoints", "VpcEndpoints", "vpc-endpoint",
        "VpcEndpointId", "vpc_endpoint_id=VpcEndpointId vpc_id=VpcId "
        "service_name=ServiceName state=State"),
    ec2("aws_vpc_flow_log", "describe_flow_logs", "FlowLogs", "vpc-flow-log", "FlowLogId",
        "flow_log_id=FlowLogId resource_id=ResourceId traffic_type=TrafficType "
        "log_destination_type=LogDestinationType"),
    ec2("aws_vpc_peering_connection", "describe_vpc_peering_connections",
        "VpcPeeringConnections", "vpc-peering-connection", "VpcPeeringConnectionId",
        "id=VpcPeeringConnectionId status_code=Status.Code"),
    ec2("aws_ec2_network_interface", "describe_network_interfaces", "NetworkInterfaces",
        "network-interface", "NetworkInterfaceId",
        "network_interface_id=NetworkInterfaceId status=Status interface_type=InterfaceType "
        "vpc_id=VpcId private_ip_address=PrivateIpAddress "
        "association_public_ip=Association.PublicIp"),
    Source("aws_ec2_application_load_balancer", "elbv2", balancers("application"),
           "LoadBalancerArn", _BALANCER, "LoadBalancerName"),
    Source("aws_ec2_network_load_balancer", "elbv2", balancers("network"),
           "LoadBalancerArn", _BALANCER, "LoadBalancerName"),
    Source("aws_ec2_classic_load_balancer", "elb", classic_balancers,
           "arn:aws:elasticloadbalancing:{region}:{account}:loadbalancer/{LoadBalancerName}",
           "arn=@aka name=LoadBalancerName scheme=Scheme dns_name=DNSName vpc_id=VPCId",
           "LoadBalancerName"),
    Source("aws_ec2_target_group", "elbv2",
           tagged(listing("describe_target_groups", "TargetGroups"), "describe_tags",
                  "ResourceArns", "[TargetGroupArn]", "TagDescriptions[0].Tags"),
           "TargetGroupArn", "target_group_arn=TargetGroupArn target_group_name=TargetGroupName "
           "protocol=Protocol port=Port target_type=TargetType vpc_id=VpcId", "TargetGroupName"),
    Source("aws_route53_zone", "route53", zones,
           "arn:aws:route53:::hostedzone/{Id}", "id=Id name=Name private_zone=Config.PrivateZone "
           "resource_record_set_count=ResourceRecordSetCount", is_global=True),
    Source("aws_cloudfront_distribution", "cloudfront",
           listing("list_distributions", "DistributionList.Items"), "ARN",
           "arn=ARN id=Id domain_name=DomainName enabled=Enabled status=Status", "Id",
           is_global=True),
    Source("aws_wafv2_web_acl", "wafv2", listing("list_web_acls", "WebACLs", Scope="REGIONAL"),
           "ARN", "arn=ARN name=Name scope=Scope"),
    Source("aws_acm_certificate", "acm",
           tagged(listing("list_certificates", "CertificateSummaryList"),
                  "list_tags_for_certificate", "CertificateArn", "CertificateArn"),
           "CertificateArn", "certificate_arn=CertificateArn domain_name=DomainName",
           "DomainName"),
    # ---- identity ----
    Source("aws_iam_user", "iam",
           tagged(listing("list_users", "Users"), "list_user_tags", "UserName", "UserName"),
           "Arn", f"arn=Arn name=UserName user_id=UserId {_IAM_DATES} "
           "password_last_used=PasswordLastUsed", "UserName", is_global=True),
    Source("aws_iam_group", "iam", listing("list_groups", "Groups"), "Arn",
           f"arn=Arn name=GroupName group_id=GroupId {_IAM_DATES}", "GroupName", is_global=True),
    Source("aws_iam_role", "iam",
           tagged(listing("list_roles", "Roles"), "list_role_tags", "RoleName", "RoleName"),
           "Arn", f"arn=Arn name=RoleName role_id=RoleId {_IAM_DATES} "
           "max_session_duration=MaxSessionDuration", "RoleName", is_global=True),
    Source("aws_iam_policy", "iam",
           tagged(listing("list_policies", "Policies", Scope="Local"), "list_policy_tags",
                  "PolicyArn", "Arn"),
           "Arn", f"arn=Arn name=PolicyName policy_id=PolicyId {_IAM_DATES} "
           "is_attached=AttachmentCount>`0` attachment_count=AttachmentCount "
           "is_aws_managed=`false`", "PolicyName", is_global=True),
    Source("aws_iam_access_key", "iam", access_keys,
           "arn:aws:iam::{account}:user/{UserName}/accesskey/{AccessKeyId}",
           "access_key_id=AccessKeyId user_name=UserName status=Status create_date=CreateDate",
           "AccessKeyId", is_global=True),
    Source("aws_iam_saml_provider", "iam", listing("list_saml_providers", "SAMLProviderList"),
           "Arn", "arn=Arn create_date=CreateDate valid_until=ValidUntil", "Arn", is_global=True),
    Source("aws_iam_open_id_connect_provider", "iam",
           each(listing("list_open_id_connect_providers", "OpenIDConnectProviderList"),
                "get_open_id_connect_provider", "OpenIDConnectProviderArn", "Arn"),
           "Arn", "arn=Arn url=Url", "Url", is_global=True),
    Source("aws_cognito_user_pool", "cognito-idp",
           each(listing("list_user_pools", "UserPools", MaxResults=60), "describe_user_pool",
                "UserPoolId", "Id", "UserPool"),
           "Arn", "arn=Arn id=Id name=Name status=Status creation_date=CreationDate",
           tags="UserPoolTags"),
    # ---- databases ----
    Source("aws_rds_db_instance", "rds", listing("describe_db_instances", "DBInstances"),
           "DBInstanceArn", "arn=DBInstanceArn db_instance_identifier=DBInstanceIdentifier "
           "engine=Engine engine_version=EngineVersion class=DBInstanceClass "
           "status=DBInstanceStatus publicly_accessible=PubliclyAccessible "
           "storage_encrypted=StorageEncrypted multi_az=MultiAZ "
           "allocated_storage=AllocatedStorage deletion_protection=DeletionProtection",
           "DBInstanceIdentifier", "TagList"),
    Source("aws_rds_db_cluster", "rds", listing("describe_db_clusters", "DBClusters"),
           "DBClusterArn", "arn=DBClusterArn db_cluster_identifier=DBClusterIdentifier "
           "engine=Engine engine_version=EngineVersion status=Status "
           "storage_encrypted=StorageEncrypted multi_az=MultiAZ", "DBClusterIdentifier",
           "TagList"),
    Source("aws_rds_db_snapshot", "rds", listing("describe_db_snapshots", "DBSnapshots"),
           "DBSnapshotArn", "arn=DBSnapshotArn db_snapshot_identifier=DBSnapshotIdentifier "
           "engine=Engine encrypted=Encrypted status=Status "
           "allocated_storage=AllocatedStorage", "DBSnapshotIdentifier", "TagList"),
    Source("aws_dynamodb_table", "dynamodb",
           tagged(each(listing("list_tables", "TableNames"), "describe_table", "TableName", "Id",
                       "Table"), "list_tags_of_resource", "ResourceArn", "TableArn"),
           "TableArn", "arn=TableArn name=TableName", "TableName"),
    Source("aws_redshift_cluster", "redshift", listing("describe_clusters", "Clusters"),
           "arn:aws:redshift:{region}:{account}:cluster:{ClusterIdentifier}",
           "arn=@aka cluster_identifier=ClusterIdentifier node_type=NodeType "
           "number_of_nodes=NumberOfNodes cluster_status=ClusterStatus "
           "publicly_accessible=PubliclyAccessible encrypted=Encrypted", "ClusterIdentifier"),
    Source("aws_elasticache_cluster", "elasticache",
           listing("describe_cache_clusters", "CacheClusters"),
           "ARN", "arn=ARN cache_cluster_id=CacheClusterId engine=Engine "
           "engine_version=EngineVersion cache_node_type=CacheNodeType "
           "cache_cluster_status=CacheClusterStatus", "CacheClusterId"),
    Source("aws_elasticache_replication_group", "elasticache",
           listing("describe_replication_groups", "ReplicationGroups"),
           "ARN", "arn=ARN replication_group_id=ReplicationGroupId status=Status "
           "at_rest_encryption_enabled=AtRestEncryptionEnabled "
           "transit_encryption_enabled=TransitEncryptionEnabled", "ReplicationGroupId"),
    Source("aws_opensearch_domain", "opensearch",
           tagged(each(listing("list_domain_names", "DomainNames"), "describe_domain",
                       "DomainName", "DomainName", "DomainStatus"), "list_tags", "ARN", "ARN",
                  "TagList"),
           "ARN", "arn=ARN domain_name=DomainName", "DomainName"),
    Source("aws_athena_workgroup", "athena", listing("list_work_groups", "WorkGroups"),
           "arn:aws:athena:{region}:{account}:workgroup/{Name}", "name=Name state=State"),
    Source("aws_glue_catalog_database", "glue", listing("get_databases", "DatabaseList"),
           "arn:aws:glue:{region}:{account}:database/{Name}",
           "name=Name create_time=CreateTime"),
    Source("aws_glue_job", "glue", listing("get_jobs", "Jobs"),
           "arn:aws:glue:{region}:{account}:job/{Name}",
           "arn=@aka name=Name role=Role command=Command created_on=CreatedOn"),
    Source("aws_kinesis_stream", "kinesis",
           each(listing("list_streams", "StreamNames"), "describe_stream_summary", "StreamName",
                "Id", "StreamDescriptionSummary"),
           "StreamARN", "stream_arn=StreamARN stream_name=StreamName "
           "stream_status=StreamStatus stream_mode=StreamModeDetails.StreamMode", "StreamName"),
    Source("aws_kinesis_firehose_delivery_stream", "firehose",
           each(listing("list_delivery_streams", "DeliveryStreamNames"),
                "describe_delivery_stream", "DeliveryStreamName", "Id",
                "DeliveryStreamDescription"),
           "DeliveryStreamARN", "arn=DeliveryStreamARN "
           "delivery_stream_name=DeliveryStreamName", "DeliveryStreamName"),
    # ---- security ----
    Source("aws_kms_key", "kms", kms_keys, "Arn", "arn=Arn id=KeyId"),
    Source("aws_secretsmanager_secret", "secretsmanager", listing("list_secrets", "SecretList"),
           "ARN", "arn=ARN name=Name rotation_enabled=RotationEnabled "
           "last_rotated_date=LastRotatedDate kms_key_id=KmsKeyId"),
    Source("aws_ssm_parameter", "ssm",
           tagged(listing("describe_parameters", "Parameters"), "list_tags_for_resource",
                  "ResourceId", "Name", "TagList", ResourceType="Parameter"),
           "arn:aws:ssm:{region}:{account}:parameter{Name}",
           "name=Name type=Type tier=Tier version=Version "
           "last_modified_date=LastModifiedDate"),
    Source("aws_cloudtrail_trail", "cloudtrail",
           listing("describe_trails", "trailList", includeShadowTrails=True), "TrailARN",
           "arn=TrailARN name=Name home_region=HomeRegion "
           "is_multi_region_trail=IsMultiRegionTrail s3_bucket_name=S3BucketName "
           "log_file_validation_enabled=LogFileValidationEnabled"),
    Source("aws_config_configuration_recorder", "config",
           listing("describe_configuration_recorders", "ConfigurationRecorders"),
           "arn:aws:config:{region}:{account}:config-recorder/{name}",
           "arn=@aka name=name", "name"),
    Source("aws_guardduty_detector", "guardduty",
           each(listing("list_detectors", "DetectorIds"), "get_detector", "DetectorId"),
           "arn:aws:guardduty:{region}:{account}:detector/{Id}",
           "arn=@aka detector_id=Id status=Status", "Id"),
    Source("aws_securityhub_hub", "securityhub", hubs, "HubArn",
           "hub_arn=HubArn subscribed_at=SubscribedAt", "'default'"),
    # ---- integration ----
    Source("aws_sqs_queue", "sqs",
           tagged(each(listing("list_queues", "QueueUrls"), "get_queue_attributes", "QueueUrl",
                       "Id", "Attributes", AttributeNames=["All"]), "list_queue_tags", "QueueUrl"),
           "QueueArn", "queue_arn=QueueArn queue_url=Id "
           "kms_master_key_id=KmsMasterKeyId sqs_managed_sse_enabled=SqsManagedSseEnabled",
           "@last"),
    Source("aws_sns_topic", "sns",
           tagged(listing("list_topics", "Topics"), "list_tags_for_resource", "ResourceArn",
                  "TopicArn"),
           "TopicArn", "topic_arn=TopicArn", "@last"),
    Source("aws_sfn_state_machine", "stepfunctions",
           tagged(listing("list_state_machines", "stateMachines"), "list_tags_for_resource",
                  "resourceArn", "stateMachineArn", "tags"),
           "stateMachineArn", "arn=stateMachineArn name=name type=type "
           "creation_date=creationDate", "name"),
    Source("aws_eventbridge_bus", "events", listing("list_event_buses", "EventBuses"), "Arn",
           "arn=Arn name=Name"),
    Source("aws_eventbridge_rule", "events", listing("list_rules", "Rules"), "Arn",
           "arn=Arn name=Name state=State schedule_expression=ScheduleExpression "
           "event_bus_name=EventBusName"),
    Source("aws_api_gateway_rest_api", "apigateway", listing("get_rest_apis", "items"),
           "arn:aws:apigateway:{region}::/restapis/{id}",
           "api_id=id name=name created_date=createdDate", "name", "tags"),
    Source("aws_api_gatewayv2_api", "apigatewayv2", listing("get_apis", "Items"),
           "arn:aws:apigateway:{region}::/apis/{ApiId}",
           "api_id=ApiId name=Name protocol_type=ProtocolType api_endpoint=ApiEndpoint"),
    Source("aws_cloudwatch_log_group", "logs",
           tagged(listing("describe_log_groups", "logGroups"), "list_tags_log_group",
                  "logGroupName", "logGroupName", "tags"),
           "arn", "arn=arn name=logGroupName retention_in_days=retentionInDays "
           "kms_key_id=kmsKeyId stored_bytes=storedBytes", "logGroupName"),
    Source("aws_cloudwatch_alarm", "cloudwatch", listing("describe_alarms", "MetricAlarms"),
           "AlarmArn", "arn=AlarmArn name=AlarmName state_value=StateValue namespace=Namespace "
           "metric_name=MetricName", "AlarmName"),
    Source("aws_cloudformation_stack", "cloudformation", listing("describe_stacks", "Stacks"),
           "StackId", "id=StackId name=StackName status=StackStatus", "StackName"),
    Source("aws_codebuild_project", "codebuild",
           each(listing("list_projects", "projects"), "batch_get_projects", "names", "[Id]",
                "projects[0]"),
           "arn", "arn=arn name=name created=created last_modified=lastModified", "name", "tags"),
]  # fmt: skip
"""As many tables as the adapter's catalogue knows for AWS, and the one that names the account."""

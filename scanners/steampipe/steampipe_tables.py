"""The inventory tables of each Steampipe plugin, and the few columns of each that we read.

Names come from the plugins' own documentation. Columns that cost an extra API call for every row
are left out, except tags and identity; columns that may hold secrets (`data` of a Kubernetes
secret, a function's environment, a parameter's value) never stand here. Tables that list
everything at once (`azure_resource`, `gcp_cloud_asset`, `aws_tagging_resource`) would only repeat
what the others say and are left out too.
"""

from __future__ import annotations

from typing import NamedTuple

from contracts.vocabulary import Provider

GLOBAL = "global"
"""The region of what belongs to none."""


class TableSpec(NamedTuple):
    """How to read one table; a column that a plugin version lacks is simply not asked for."""

    table: str
    attributes: tuple[str, ...] = ()
    uid: str = "akas"
    """Where the identity stands. `akas`, a list of names known elsewhere, is on every table."""
    name: str = "title"
    region: str | None = "region"
    tags: str = "tags"
    where: str = ""
    """A condition that keeps the provider's own rows out, such as AWS's managed policies."""

    @property
    def type(self) -> str:
        """The resource type: the table's name without its plugin's prefix."""
        return self.table.partition("_")[2]


def _aws(
    table: str, columns: str = "", uid: str = "arn", region: str = "region", where: str = ""
) -> TableSpec:
    return TableSpec(f"aws_{table}", tuple(columns.split()), uid, region=region, where=where)


def _azure(table: str, columns: str = "", region: str | None = "region") -> TableSpec:
    return TableSpec(f"azure_{table}", (*columns.split(), "resource_group"), "id", region=region)


def _gcp(table: str, columns: str = "", uid: str = "self_link") -> TableSpec:
    return TableSpec(f"gcp_{table}", tuple(columns.split()), uid, region="location")


def _kubernetes(table: str, columns: str = "") -> TableSpec:
    everywhere = ("namespace", "context_name", "creation_timestamp")
    attributes = (*columns.split(), *everywhere)
    return TableSpec(f"kubernetes_{table}", attributes, "uid", name="name", region=None)


CATALOGUE: dict[Provider, dict[str, list[TableSpec]]] = {
    Provider.AWS: {
        "compute": [
            _aws("ec2_instance", "instance_id instance_type instance_state public_ip_address "
                 "private_ip_address vpc_id subnet_id image_id launch_time"),
            _aws("ebs_volume", "volume_id volume_type state size encrypted availability_zone"),
            _aws("ebs_snapshot", "snapshot_id volume_id volume_size state encrypted start_time"),
            _aws("ec2_ami", "image_id name state public creation_date", uid="akas"),
            _aws("ec2_autoscaling_group", "name min_size max_size desired_capacity",
                 uid="autoscaling_group_arn"),
            _aws("ec2_launch_template", "launch_template_id latest_version_number", uid="akas"),
            _aws("lambda_function", "runtime package_type memory_size timeout last_modified"),
            _aws("ecs_cluster", "status running_tasks_count", uid="cluster_arn"),
            _aws("ecs_service", "status launch_type desired_count cluster_arn"),
            _aws("eks_cluster", "version status"),
            _aws("ecr_repository", "image_tag_mutability created_at"),
        ],
        "storage": [
            _aws("s3_bucket", "creation_date"),
            _aws("efs_file_system", "file_system_id encrypted life_cycle_state performance_mode"),
            _aws("backup_vault", "number_of_recovery_points"),
            _aws("backup_plan", "backup_plan_id"),
            _aws("glacier_vault", "number_of_archives size_in_bytes", uid="vault_arn"),
        ],
        "network": [
            _aws("vpc", "vpc_id cidr_block state is_default"),
            _aws("vpc_subnet", "subnet_id vpc_id cidr_block availability_zone "
                 "map_public_ip_on_launch", uid="subnet_arn"),
            _aws("vpc_security_group", "group_id group_name vpc_id description"),
            _aws("vpc_internet_gateway", "internet_gateway_id", uid="akas"),
            _aws("vpc_nat_gateway", "nat_gateway_id vpc_id subnet_id state"),
            _aws("vpc_route_table", "route_table_id vpc_id", uid="akas"),
            _aws("vpc_network_acl", "network_acl_id vpc_id is_default", uid="akas"),
            _aws("vpc_eip", "allocation_id public_ip instance_id association_id"),
            _aws("vpc_endpoint", "vpc_endpoint_id vpc_id service_name state", uid="akas"),
            _aws("vpc_flow_log", "flow_log_id resource_id traffic_type log_destination_type",
                 uid="akas"),
            _aws("vpc_peering_connection", "id status_code", uid="akas"),
            _aws("ec2_network_interface", "network_interface_id status interface_type vpc_id "
                 "private_ip_address association_public_ip", uid="akas"),
            _aws("ec2_application_load_balancer", "type scheme state_code dns_name vpc_id"),
            _aws("ec2_network_load_balancer", "type scheme state_code dns_name vpc_id"),
            _aws("ec2_classic_load_balancer", "scheme dns_name vpc_id"),
            _aws("ec2_target_group", "protocol port target_type vpc_id",
                 uid="target_group_arn"),
            _aws("route53_zone", "id private_zone resource_record_set_count", uid="akas"),
            _aws("cloudfront_distribution", "id domain_name enabled status"),
            _aws("wafv2_web_acl", "scope"),
            _aws("acm_certificate", "domain_name", uid="certificate_arn"),
        ],
        "identity": [
            _aws("iam_user", "user_id path create_date password_last_used"),
            _aws("iam_group", "group_id path create_date"),
            _aws("iam_role", "role_id path create_date max_session_duration"),
            _aws("iam_policy", "policy_id path is_attached attachment_count create_date",
                 where='"is_aws_managed" = false'),
            _aws("iam_access_key", "user_name status create_date", uid="akas"),
            _aws("iam_saml_provider", "create_date valid_until"),
            _aws("iam_open_id_connect_provider", "url"),
            _aws("cognito_user_pool", "id status creation_date"),
        ],
        "database": [
            _aws("rds_db_instance", "engine engine_version class status publicly_accessible "
                 "storage_encrypted multi_az allocated_storage deletion_protection"),
            _aws("rds_db_cluster", "engine engine_version status storage_encrypted multi_az"),
            _aws("rds_db_snapshot", "engine encrypted status allocated_storage"),
            _aws("dynamodb_table"),
            _aws("redshift_cluster", "node_type number_of_nodes cluster_status "
                 "publicly_accessible encrypted"),
            _aws("elasticache_cluster", "engine engine_version cache_node_type "
                 "cache_cluster_status"),
            _aws("elasticache_replication_group", "status at_rest_encryption_enabled "
                 "transit_encryption_enabled"),
            _aws("opensearch_domain"),
            _aws("athena_workgroup", "state", uid="akas"),
            _aws("glue_catalog_database", "create_time", uid="akas"),
            _aws("glue_job", "role command created_on"),
            _aws("kinesis_stream", "stream_status stream_mode", uid="stream_arn"),
            _aws("kinesis_firehose_delivery_stream"),
        ],
        "security": [
            _aws("kms_key"),
            _aws("secretsmanager_secret", "rotation_enabled last_rotated_date kms_key_id"),
            _aws("ssm_parameter", "type tier version last_modified_date", uid="akas"),
            _aws("cloudtrail_trail", "home_region is_multi_region_trail s3_bucket_name "
                 "log_file_validation_enabled", region="home_region"),
            _aws("config_configuration_recorder", "status_recording"),
            _aws("guardduty_detector", "detector_id status"),
            _aws("securityhub_hub", "subscribed_at", uid="hub_arn"),
        ],
        "integration": [
            _aws("sqs_queue", "fifo_queue kms_master_key_id sqs_managed_sse_enabled",
                 uid="queue_arn"),
            _aws("sns_topic", uid="topic_arn"),
            _aws("sfn_state_machine", "type creation_date"),
            _aws("eventbridge_bus"),
            _aws("eventbridge_rule", "state schedule_expression event_bus_name"),
            _aws("api_gateway_rest_api", "api_id created_date", uid="akas"),
            _aws("api_gatewayv2_api", "api_id protocol_type api_endpoint", uid="akas"),
            _aws("cloudwatch_log_group", "retention_in_days kms_key_id stored_bytes"),
            _aws("cloudwatch_alarm", "state_value namespace metric_name"),
            _aws("cloudformation_stack", "status", uid="id"),
            _aws("codebuild_project", "created last_modified"),
        ],
    },
    Provider.AZURE: {
        "organization": [
            _azure("subscription", "subscription_id state", region=None),
            _azure("resource_group", "provisioning_state"),
            _azure("role_assignment", "principal_id principal_type scope", region=None),
        ],
        "compute": [
            _azure("compute_virtual_machine", "size os_type power_state"),
            _azure("compute_disk", "disk_state disk_size_gb encryption_type"),
            _azure("app_service_web_app", "state https_only"),
            _azure("app_service_function_app", "state https_only"),
            _azure("kubernetes_cluster", "kubernetes_version enable_rbac"),
            _azure("container_registry", "login_server admin_user_enabled"),
        ],
        "storage": [
            _azure("storage_account", "kind sku_name allow_blob_public_access "
                   "enable_https_traffic_only minimum_tls_version"),
        ],
        "network": [
            _azure("virtual_network", "provisioning_state"),
            _azure("network_security_group", "provisioning_state"),
            _azure("network_interface", "enable_ip_forwarding"),
            _azure("public_ip", "ip_address public_ip_allocation_method"),
            _azure("application_gateway", "operational_state"),
        ],
        "database": [
            _azure("sql_server", "version public_network_access"),
            _azure("sql_database", "server_name status"),
            _azure("cosmosdb_account", "kind public_network_access"),
            _azure("postgresql_flexible_server", "version state"),
            _azure("mysql_flexible_server", "version state"),
        ],
        "security": [
            _azure("key_vault", "sku_name soft_delete_enabled purge_protection_enabled"),
            _azure("log_profile"),
        ],
    },
    Provider.GCP: {
        "organization": [
            _gcp("project", "project_id project_number lifecycle_state"),
            _gcp("service_account", "email disabled", uid="akas"),
            _gcp("service_account_key", "key_type valid_before_time", uid="akas"),
        ],
        "compute": [
            _gcp("compute_instance", "status machine_type_name zone_name deletion_protection"),
            _gcp("compute_disk", "status size_gb type_name zone_name"),
            _gcp("compute_image", "status disk_size_gb"),
            _gcp("kubernetes_cluster", "status current_master_version"),
            _gcp("cloud_run_service", "description", uid="akas"),
            _gcp("cloudfunctions_function", "status runtime", uid="akas"),
        ],
        "storage": [_gcp("storage_bucket", "storage_class versioning_enabled")],
        "network": [
            _gcp("compute_network", "auto_create_subnetworks routing_mode"),
            _gcp("compute_subnetwork", "ip_cidr_range private_ip_google_access"),
            _gcp("compute_firewall", "direction disabled priority"),
            _gcp("compute_address", "address status address_type"),
            _gcp("dns_managed_zone", "dns_name visibility", uid="akas"),
        ],
        "database": [
            _gcp("sql_database_instance", "database_version state"),
            _gcp("bigquery_dataset", "dataset_id"),
            _gcp("pubsub_topic", "kms_key_name"),
        ],
        "security": [
            _gcp("kms_key_ring", uid="akas"),
            _gcp("kms_key", "purpose rotation_period"),
            _gcp("secret_manager_secret", uid="akas"),
        ],
    },
    Provider.KUBERNETES: {
        "cluster": [_kubernetes("namespace", "phase"), _kubernetes("node", "pod_cidr")],
        "workloads": [
            _kubernetes("pod", "phase node_name service_account_name"),
            _kubernetes("deployment", "replicas available_replicas"),
            _kubernetes("daemonset", "desired_number_scheduled number_ready"),
            _kubernetes("stateful_set", "replicas ready_replicas"),
            _kubernetes("cronjob", "schedule suspend"),
            _kubernetes("job", "active succeeded failed"),
        ],
        "network": [
            _kubernetes("service", "type cluster_ip"),
            _kubernetes("ingress", "ingress_class_name"),
            _kubernetes("network_policy"),
        ],
        "configuration": [
            _kubernetes("secret", "type"),
            _kubernetes("config_map"),
            _kubernetes("persistent_volume_claim", "phase storage_class"),
        ],
        "access": [
            _kubernetes("service_account"),
            _kubernetes("role"),
            _kubernetes("role_binding", "role_name role_kind"),
            _kubernetes("cluster_role"),
            _kubernetes("cluster_role_binding", "role_name role_kind"),
        ],
    },
}  # fmt: skip
"""Every table we read, by provider and group; one group is one shard of a discovery."""

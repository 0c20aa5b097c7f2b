# One connection for each account; Cloudsweep finds by itself which account a connection reads.
# A profile of the file that AWS_CONFIG_FILE names, or the container's environment without one.
connection "aws" {
  plugin  = "aws"
  regions = ["*"]
}

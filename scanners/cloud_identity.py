"""Who an account's credentials are, asked before anything is scanned."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from contracts.accounts import Account, CloudIdentity
from contracts.errors import CredentialsRejected, ScannerCrashed
from contracts.vocabulary import Provider
from runtime.redaction import redact
from runtime.settings import Settings
from scanners.credentials import runner_environment
from scanners.kubernetes import kubernetes
from scanners.processes.process import private_directory, running
from scanners.prowler import prowler
from scanners.prowler.prowler_errors import explain

_PROBE: Final = Path(__file__).parent / "aws_identity.py"
_FIRST_REGION: Final = "us-east-1"


async def check_identity(account: Account, settings: Settings) -> CloudIdentity:
    """Who we are in the account, and its enabled regions.

    Raises CredentialsRejected, TargetUnreachable, RateLimited or ScannerMissing, each with the
    cause in words and the fix; never with a secret.
    """
    if account.provider is Provider.AWS:
        found = await _aws_identity(account)
    elif account.provider is Provider.KUBERNETES:
        access = kubernetes.read_access(account.credentials, account_uid=account.uid)
        found = await kubernetes.identity(access)
    else:
        found = await _prowler_identity(account, settings)
    if account.uid is not None and account.uid != found.account_uid:
        raise CredentialsRejected(
            f"These credentials belong to {found.account_uid}, not to {account.uid}.",
            fix=f"Give account {account.name} the credentials of {account.uid}.",
        )
    return found


async def _aws_identity(account: Account) -> CloudIdentity:
    region = account.home_region or (account.regions or [_FIRST_REGION])[0]
    made = runner_environment(
        Provider.AWS,
        account.credentials,
        endpoint_url=account.endpoint_url,
        home_region=region,
    )
    job = {**made.arguments, "region": region, "regions": account.regions}
    answer = await _probe(job, made.env)
    if "names" in answer:
        raise explain(
            answer["names"],
            answer["message"],
            provider=Provider.AWS,
            credentials=account.credentials,
            endpoint_url=account.endpoint_url,
        )
    return CloudIdentity.model_validate(answer)


async def _probe(job: dict[str, Any], env: dict[str, str]) -> dict[str, Any]:
    """Ask in a process of its own, see there; our environment has boto3."""
    with private_directory() as directory:
        path = directory / "job.json"
        path.write_text(json.dumps(job))
        command = [sys.executable, "-s", str(_PROBE), str(path)]
        async with running(command, env=env, directory=directory) as process:
            lines = [line async for line in process.lines()]
            code = await process.wait()
            if code != 0 or not lines:
                tail = redact(process.error_tail(), limit=500)
                raise ScannerCrashed(f"The credential check ended with exit code {code}. {tail}")
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


async def _prowler_identity(account: Account, settings: Settings) -> CloudIdentity:
    job = prowler.ProwlerJob(
        provider=account.provider,
        account_uid=account.uid,
        credentials=account.credentials,
        checks=[],
    )
    answer = await prowler.identity(job, settings)
    accounts: list[str] = answer["accounts"]
    if not accounts:
        raise CredentialsRejected(
            f"These credentials see no {account.provider} account at all.",
            fix="Grant them read access to the account.",
        )
    if account.uid in accounts:
        return CloudIdentity(account_uid=account.uid, principal=answer["principal"])
    if account.uid is None and len(accounts) > 1 and account.provider is Provider.AZURE:
        raise CredentialsRejected(
            f"These credentials see {len(accounts)} subscriptions: {', '.join(accounts[:5])}.",
            fix="Say which one this account is: set its uid.",
        )
    return CloudIdentity(account_uid=accounts[0], principal=answer["principal"])

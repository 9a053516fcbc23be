"""Secrets Manager at the wire, with its delays.

Sources:
- https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DeleteSecret.html: "Secrets Manager performs the
  actual deletion with an asynchronous background process"; "If you forcibly delete an already deleted or nonexistent
  secret, the operation does not return ResourceNotFoundException"
- https://docs.aws.amazon.com/secretsmanager/latest/userguide/manage_delete-secret.html (7 to 30 days of recovery)
- https://github.com/redpanda-data/console/issues/1835, https://github.com/hashicorp/terraform-provider-aws/issues/23998
  (the messages of InvalidRequestException)
- https://github.com/hashicorp/terraform-provider-aws/issues/18406 (a read after a create may find nothing)
"""

import json
import time

from .wire import Response, Server

NOT_FOUND = ("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
EXISTS = ("ResourceExistsException", "The operation failed because the secret already exists.")
MARKED = ("InvalidRequestException", "You can't perform this operation on the secret because it was marked for deletion.")
SCHEDULED = ("InvalidRequestException",
             "You can't create this secret because a secret with this name is already scheduled for deletion.")


class Refused(Exception):
    pass


class Secret:
    def __init__(self, name, arn, value, visible_at=0):
        self.name, self.arn, self.value = name, arn, value
        # Until then a read does not find it.
        self.visible_at = visible_at
        # From a deletion on, the moment at which the name is free again.
        self.gone_at = None


class SecretsManager:
    def __init__(self):
        self.secrets = {}
        # How long after its creation a secret is found.
        self.visible_after = 0
        # How long a forced deletion takes.
        self.deletion_takes = 0
        self.calls = []
        self.server = Server(self.answer)

    def create(self, name, arn, value):
        self.secrets[name] = Secret(name, arn, value)

    def delete_by_hand(self, name, recovery_days=30):
        """What `aws secretsmanager delete-secret` does without more arguments."""
        self.secrets[name].gone_at = time.time() + recovery_days * 86_400

    def find(self, name_or_arn):
        now = time.time()
        self.secrets = {name: secret for name, secret in self.secrets.items() if not secret.gone_at or secret.gone_at > now}
        return next((secret for secret in self.secrets.values() if name_or_arn in (secret.name, secret.arn)), None)

    def answer(self, request):
        action = (request.header("x-amz-target") or "").removeprefix("secretsmanager.")
        body = json.loads(request.body)
        self.calls.append((action, body.get("SecretId") or body.get("Name")))
        try:
            return Response(200, json.dumps(getattr(self, f"_{action}")(body)).encode(), JSON)
        except Refused as refusal:
            code, message = refusal.args
            return Response(400, json.dumps({"__type": code, "Message": message}).encode(), JSON)

    def _GetSecretValue(self, body):
        secret = self._existing(body)
        if secret.visible_at > time.time():
            raise Refused(*NOT_FOUND)
        return {**self._described(secret), "SecretString": secret.value, "CreatedDate": time.time(), "VersionStages": ["AWSCURRENT"]}

    def _CreateSecret(self, body):
        secret = self.find(body["Name"])
        if secret:
            raise Refused(*(SCHEDULED if secret.gone_at else EXISTS))
        arn = f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{body['Name']}-AbCdEf"
        secret = Secret(body["Name"], arn, body["SecretString"], time.time() + self.visible_after)
        self.secrets[secret.name] = secret
        return self._described(secret)

    def _PutSecretValue(self, body):
        secret = self._existing(body)
        secret.value = body["SecretString"]
        return self._described(secret)

    def _DeleteSecret(self, body):
        is_forced = body.get("ForceDeleteWithoutRecovery", False)
        if is_forced and self.find(body["SecretId"]) is None:
            return {"Name": body["SecretId"], "DeletionDate": time.time()}
        # A forced deletion makes one by hand final.
        secret = self.find(body["SecretId"]) if is_forced else self._existing(body)
        days = body.get("RecoveryWindowInDays", 30)
        secret.gone_at = time.time() + (self.deletion_takes if is_forced else days * 86_400)
        return {**self._described(secret), "DeletionDate": secret.gone_at}

    def _existing(self, body):
        secret = self.find(body["SecretId"])
        if secret is None:
            raise Refused(*NOT_FOUND)
        if secret.gone_at:
            raise Refused(*MARKED)
        return secret

    def _described(self, secret):
        return {"ARN": secret.arn, "Name": secret.name, "VersionId": "11111111-1111-4111-8111-111111111111"}


JSON = [("content-type", "application/x-amz-json-1.1")]

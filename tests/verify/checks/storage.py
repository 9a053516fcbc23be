"""Check 6, DynamoDB: is a put that can never succeed refused as a failed condition?"""

import uuid

from botocore.exceptions import ClientError

from verify.results import judge, only_on_aws

CHECK = "storage"


def run(context):
    """Writes nothing: an item cannot exist and not exist. AWS could also reject the expression itself."""
    table = context.target.outputs["TasksTable"]
    try:
        context.target.aws("dynamodb").put_item(
            TableName=table, Item={"id": {"S": f"verify#{uuid.uuid4()}"}},
            ConditionExpression="attribute_exists(id) AND attribute_not_exists(id)", ReturnValuesOnConditionCheckFailure="ALL_OLD")
        code = "none: the item was written"
    except ClientError as error:
        code = error.response["Error"]["Code"]
    problems = [] if code == "ConditionalCheckFailedException" else [f"the error is {code}"]
    yield only_on_aws(judge(CHECK, "Is a put with `attribute_exists AND attribute_not_exists` accepted and refused?", problems,
                            "ConditionalCheckFailedException"), context.target.is_emulator)

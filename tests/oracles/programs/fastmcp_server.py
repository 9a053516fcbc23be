"""A server of FastMCP whose tools have arguments and results of all shapes. Started by mcp_fastmcp.py."""

import datetime
import decimal
import enum
import sys
import uuid
from typing import Annotated, Any, Literal, Optional, Union

from fastmcp import Context, FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.utilities.types import Audio, File, Image
from pydantic import BaseModel, Field

PIXEL = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8"
                      "cfc000000301010018dd8db00000000049454e44ae426082")
mcp = FastMCP("shapes")


class Color(enum.Enum):
    RED = "red"
    GREEN = "green"


class Address(BaseModel):
    street: str
    zip_code: str = Field(alias="zipCode", pattern=r"^\d{4,5}$")


class Customer(BaseModel):
    name: str
    address: Address
    color: Color = Color.RED
    tags: list[str] = []
    manager: Optional["Customer"] = None


class Card(BaseModel):
    kind: Literal["card"]
    number: str


class Transfer(BaseModel):
    kind: Literal["transfer"]
    iban: str


@mcp.tool
def scalars(text: str, whole: int, real: float, flag: bool) -> str:
    return repr((text, whole, real, flag))


@mcp.tool
def defaults(text: str = "x", whole: int = 3, maybe: Optional[str] = None, items: list[int] = [1, 2]) -> str:
    return repr((text, whole, maybe, items))


@mcp.tool
def model(customer: Customer) -> str:
    return repr((customer.address.zip_code, customer.color.value, customer.manager and customer.manager.name))


@mcp.tool
def pick(color: Color, size: Literal["s", "m", 40]) -> str:
    return repr((color.name, size))


@mcp.tool
def union(value: Union[int, str, list[float], None]) -> str:
    return repr(value)


@mcp.tool
def pay(method: Annotated[Union[Card, Transfer], Field(discriminator="kind")]) -> str:
    return repr(type(method).__name__)


@mcp.tool
def bounds(percent: Annotated[int, Field(ge=0, le=100)], code: Annotated[str, Field(pattern=r"^[A-Z]{3}$", max_length=3)]) -> str:
    return f"{percent} {code}"


@mcp.tool
def formats(day: datetime.date, at: datetime.datetime, key: uuid.UUID, price: decimal.Decimal) -> str:
    return repr((day.isoformat(), at.isoformat(), str(key), str(price)))


@mcp.tool
def mapping(counts: dict[str, int], anything: Any) -> str:
    return repr((counts, anything))


@mcp.tool
def pair(place: tuple[float, float], unique: set[int]) -> str:
    return repr((place, sorted(unique)))


@mcp.tool
def structured() -> Customer:
    return Customer(name="Äda", address=Address(street="Weg 1", zipCode="1010"))


@mcp.tool
def numbers() -> list[int]:
    return [1, 2, 9007199254740993]


@mcp.tool
def nothing() -> None:
    return None


@mcp.tool
def picture() -> Image:
    return Image(data=PIXEL, format="png")


@mcp.tool
def sound() -> Audio:
    return Audio(data=b"RIFF", format="wav")


@mcp.tool
def file() -> File:
    return File(data="Returns are free.".encode(), format="plain", name="terms")


@mcp.tool
def mixed() -> list:
    return ["before", Image(data=PIXEL, format="png"), {"after": True}]


@mcp.tool
def fails() -> str:
    raise ToolError("order 7 is locked")


@mcp.tool
def crashes() -> str:
    raise ValueError("a detail of the server")


@mcp.tool
async def slow(context: Context) -> str:
    for step in range(5):
        await context.report_progress(step, 5)
        await context.info(f"step {step}")
    return "done"


@mcp.tool
async def samples(context: Context) -> str:
    """Asks the client's model, which the product does not offer."""
    return str(await context.sample("What is the weather?"))


@mcp.tool
async def elicits(context: Context) -> str:
    return str(await context.elicit("Which one?", response_type=str))


@mcp.tool(name="dotted.name/with-slash")
def dotted() -> str:
    return "dotted"


@mcp.tool
def large() -> str:
    return "0123456789" * 20_000


if __name__ == "__main__":
    mcp.run(transport="http", host="127.0.0.1", port=int(sys.argv[1]), show_banner=False)

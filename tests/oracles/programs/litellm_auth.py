"""Keys of the LiteLLM proxy of proxy_litellm.py, so that it needs no database."""

import litellm
from fastapi import HTTPException
from litellm.proxy._types import UserAPIKeyAuth


async def check(request, api_key):
    if api_key == "sk-budget-used-up":
        raise litellm.BudgetExceededError(current_cost=12.5, max_budget=10.0)
    if api_key == "sk-one-a-minute":
        return UserAPIKeyAuth(api_key=api_key, rpm_limit=1)
    if api_key != "sk-good-key-0123":
        raise HTTPException(401, "Authentication Error, Invalid proxy server token passed")
    return UserAPIKeyAuth(api_key=api_key)

"""The APIs that are answered from the cache, by their paths."""

from modelcache.gateway import chat, completion, response, responses
from modelcache.gateway.dialect import Dialect

CHAT = Dialect(
    path="/v1/chat/completions",
    read=chat.read_chat,
    form=chat.read_form,
    whole=completion.read_whole,
    end=completion.DONE,
    text_of=completion.text_to_keep,
    without_text=completion.without_text,
    with_text=completion.with_text,
    bare=completion.bare,
    anew=completion.told_anew,
    render=completion.render,
    broken=completion.broken,
    usage_of=completion.usage_of,
    no_usage=completion.NO_USAGE,
)
RESPONSES = Dialect(
    path="/v1/responses",
    read=responses.read_asked,
    form=chat.read_form,
    whole=response.read_whole,
    end=response.COMPLETED_EVENT,
    text_of=response.text_to_keep,
    without_text=response.without_text,
    with_text=response.with_text,
    bare=response.bare,
    anew=response.told_anew,
    render=response.render,
    broken=response.broken,
    usage_of=response.usage_of,
    no_usage=response.NO_USAGE,
)
DIALECTS = {one.path: one for one in (CHAT, RESPONSES)}

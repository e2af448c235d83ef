"""SLURM's error messages: which are final, and which pass when SLURM can be reached again.

The final ones are about the request itself. Nobody can list all the others: the network, the
authentication and the site's own wrappers have their own. So whatever is not known to be final is
tried again. SLURM's texts are in `src/common/slurm_errno.c` of its sources.
"""

import re

_UNAVAILABLE = re.compile(
    r"contact slurm controller|timed out|connection (refused|reset)|connect(ion)? failure"
    r"|communication shutdown|zero bytes|message (send|receive) failure|temporarily unable"
    r"|slurm_persist_conn|backup controller|standby mode|unable to establish|munge"
    r"|protocol authentication|authentication error|authentication agent"
    r"|transport endpoint|no route to host|network is unreachable|broken pipe|name resolution"
    r"|unable to create job record|writing script/environment|try again",
    re.IGNORECASE,
)
_FINAL = re.compile(
    r"invalid (account|partition|qos|feature|preferred|wckey|license|time|node|generic|gres"
    r"|trackable|job (id|array)|parent|burst|mcs|accounting|option|argument|specification|--)"
    r"|(specification|limit is|option is) invalid|specification (needs|required)"
    r"|access/permission denied|access denied|not permitted|than permitted|not allowed"
    r"|violates accounting|breached|limit exceeded|exceeds"
    r"|(configuration|by task) is not available|configuration not available|in this partition"
    r"|no partition specified|not supported|presently disabled|can not be requeued"
    r"|already (completing|finished)|is not (running|pending)|is pending execution"
    r"|no longer pending|is disabled"
    r"|more (processors|tasks|threads|nodes|ports) (requested )?than|only batch jobs"
    r"|unrecognized|unknown option|requires an argument|ambiguous|illegal"
    r"|duplicate|name exceeded|too long|bad constraints|unspecified error|cli_filter|job_submit",
    re.IGNORECASE,
)
_LIMIT = re.compile(r"\b(?:QOS|Assoc|Partition)[A-Z]\w+")


def is_unavailable(message: str) -> bool:
    """Return whether an error message is known to mean that SLURM does not answer now."""
    return _UNAVAILABLE.search(message) is not None


def is_final(message: str) -> bool:
    """Return whether an error message says that SLURM refuses the request, now and later."""
    return not is_unavailable(message) and _FINAL.search(message) is not None


def named_limit(message: str) -> str | None:
    """Return the limit that SLURM names in an error message; None if it names none."""
    found = _LIMIT.search(message)
    return None if found is None else found.group()

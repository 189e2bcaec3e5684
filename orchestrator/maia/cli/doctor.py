"""`maia doctor`: its flags. What it does is in `maia.cli.diagnosis`."""

from __future__ import annotations

import typer

from maia.cli import flags


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    *,
    subject_address: flags.SubjectAddress = None,
    generation_address: flags.GenerationAddress = None,
    editing_address: flags.EditingAddress = None,
    exemplars_address: flags.ExemplarsAddress = None,
    description_address: flags.DescriptionAddress = None,
    sandbox_tier: flags.SandboxTier = None,
    sandbox_address: flags.SandboxAddress = None,
    allow_unisolated: flags.AllowUnisolated = None,
    tls_ca: flags.TlsCa = None,
    tls_cert: flags.TlsCert = None,
    tls_key: flags.TlsKey = None,
    token_file: flags.TokenFile = None,
    config: flags.ConfigFile = None,
    cache_dir: flags.CacheDir = None,
) -> int:
    """Say what works on this machine, and what to do about the rest.

    Python, sandbox, keys and the token of the Hugging Face hub (never shown), accelerators, folders. Each address that
    the settings name: who answers, of which release, with which certificate, and whether the clocks agree. The exit
    code is 1 if something must be mended. For example:

        maia doctor

        maia doctor --config lab.toml
    """
    given = dict(locals())
    from maia.cli.asynchronous import run_async  # help must not pay for what the checks need
    from maia.cli.config import load_config
    from maia.cli.diagnosis import diagnose

    return run_async(diagnose(load_config(given)))

"""`kfr serve`."""

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .output import show_json


def serve(
    what: Annotated[
        Path, typer.Argument(help="An index of `kfr index build`, or a run folder.")
    ],
    split: Annotated[
        str | None, typer.Option(help="Of a run: embed test or train, to search in.")
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="0: one that is free.")
    ] = 8642,
    host: Annotated[
        str, typer.Option(help="Address to listen on; by default, this machine's own.")
    ] = "127.0.0.1",
    open: Annotated[bool, typer.Option("--open", help="Open the page.")] = False,
    run: Annotated[
        Path | None, typer.Option(help="The run of an index, if that was moved.")
    ] = None,
    data_root: options.DataRoot = None,
    device: options.RunDevice = "auto",
    json: options.Json = False,
) -> None:
    """Show a page to search, classify and look at class distances with.

    Whoever has the address that is printed, with its token, can look. Ctrl-C ends it.
    """
    from kfr.serving.door import Door
    from kfr.serving.routes import routes
    from kfr.serving.server import Server
    from kfr.serving.server import run as answer
    from kfr.serving.site import open_site

    site = open_site(what, run=run, split=split, device=device, data_root=data_root)
    server = Server(Door(host), port, routes(site))
    if json:
        show_json({"address": server.address, "images": len(site.pictures.paths)})
    else:
        typer.echo(f"{what} is shown at {server.address}  (Ctrl-C ends it)")
    if not server.door.local:
        typer.echo("kfr: other machines can reach it, unencrypted", err=True)
    if open:
        import webbrowser

        webbrowser.open(server.address)
    answer(server, site.busy)

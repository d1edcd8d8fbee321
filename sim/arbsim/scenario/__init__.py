"""Scenarios: the YAML file that asks a question, read with the place of everything that is wrong in it."""

from __future__ import annotations

from arbsim.scenario.entries import DesignEntry
from arbsim.scenario.expectations import CountRange, Expectation
from arbsim.scenario.load import load_scenario
from arbsim.scenario.mistakes import CODES, Mistake, ScenarioError, render
from arbsim.scenario.models import Scenario
from arbsim.scenario.schema import SCHEMA_FILE, scenario_schema, schema_text
from arbsim.scenario.template import init_template

__all__ = [
    "CODES",
    "SCHEMA_FILE",
    "CountRange",
    "DesignEntry",
    "Expectation",
    "Mistake",
    "Scenario",
    "ScenarioError",
    "init_template",
    "load_scenario",
    "render",
    "scenario_schema",
    "schema_text",
]

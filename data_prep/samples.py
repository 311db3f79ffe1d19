"""Small tables T0, T1 and T2 that show the columns; the structures are known drugs, the values are invented.

Their rows are valid, but too few for a task.
"""

SAMPLE_TABLES = {
    "T0.csv": """\
input_assay_id,assay_type,use_in_regression,is_binary,expert_threshold_1,expert_threshold_2,direction,catalog_assay_id
KIN-17,OTHER,true,false,6,7,high,
HERG,CATALOG-PANEL,true,false,5,,high,CHEMBL240
HLM-CL,ADME,true,false,,,low,
AMES,OTHER,false,true,,,,
""",
    "T1.csv": """\
input_compound_id,input_assay_id,standard_qualifier,standard_value
C-0001,KIN-17,=,7.32
C-0001,KIN-17,=,7.41
C-0002,KIN-17,=,5.87
C-0003,KIN-17,>,6.05
C-0004,KIN-17,<,4.52
C-0001,HERG,<,5
C-0002,HERG,=,4.81
C-0004,HERG,=,5.66
C-0001,HLM-CL,=,1.38
C-0003,HLM-CL,=,0.92
C-0001,AMES,=,-1
C-0003,AMES,=,1
""",
    "T2.csv": """\
input_compound_id,smiles
C-0001,CC(=O)Oc1ccccc1C(=O)O
C-0002,Cn1c(=O)c2c(ncn2C)n(C)c1=O
C-0003,CC(C)Cc1ccc(cc1)C(C)C(=O)O
C-0004,CN(C)CCOC(c1ccccc1)c1ccccc1.Cl
""",
}
"""Text of each file, by its name."""
